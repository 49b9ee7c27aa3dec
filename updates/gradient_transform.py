"""The decorators that make a gradient transform of a formula.

- ``gradient_transform``: of a formula that sees one gradient
- ``joint_gradient_transform``: of a formula that sees all of them
- ``gradient_and_parameter_transform``: of a formula that sees the parameters as well
- ``tensor_transform``: of a formula of one tensor, for a single tensor
- ``tensors_transform``: of a formula of several tensors, which need not be gradients
- ``Gradients``: what a formula of all gradients gets
- ``GradientTransform`` and others: what they make, as type checkers see it

Their hyperparameters may be numbers, symbols and shared variables. They may not be schedules: a
gradient transform does not count its calls.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, overload

from pytensor.graph.basic import Variable
from pytensor.tensor.sharedvar import TensorSharedVariable

from updates import provenance
from updates.arguments import (
    Params,
    as_items,
    checked_tensor,
    checked_tensors,
    checked_training,
    kept,
    renamed,
)
from updates.call import Tensor
from updates.declaration import Declaration, Deferred, declare, parameters_of, waited_for
from updates.docstrings import Shared, required
from updates.given_numbers import Place
from updates.kinds import Kind
from updates.mappings import are_params, gradients_of, like
from updates.named_dimensions import has_names, with_names_of
from updates.precision import wide
from updates.rows import whole
from updates.symbols import Symbols

P = ParamSpec("P")
R = TypeVar("R", covariant=True)
Grads = Variable | Iterable[Variable] | Mapping[Any, Variable]


class GradientTransform(Protocol[P, R]):
    """A transform of gradients; without them it waits for them."""

    __name__: str

    @overload
    def __call__(self, grads: Grads, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, grads: None = None, *args: P.args, **kwargs: P.kwargs) -> Deferred: ...


class GradientAndParameterTransform(Protocol[P, R]):
    """A transform of gradients that looks at the parameters as well."""

    __name__: str

    @overload
    def __call__(self, grads: Grads, params: Params, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self, grads: None = None, params: None = None, *args: P.args, **kwargs: P.kwargs
    ) -> Deferred: ...


class TensorsTransform(Protocol[P, R]):
    """A transform of tensors of any origin."""

    __name__: str

    @overload
    def __call__(self, tensor_vars: Grads, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, tensor_vars: None = None, *args: P.args, **kwargs: P.kwargs) -> Deferred: ...


class TensorTransform(Protocol[P]):
    """A transform of one tensor of any origin."""

    __name__: str

    @overload
    def __call__(self, tensor_var: Variable, *args: P.args, **kwargs: P.kwargs) -> Tensor: ...
    @overload
    def __call__(self, tensor_var: None = None, *args: P.args, **kwargs: P.kwargs) -> Deferred: ...


class Gradients(list[Tensor]):
    """The gradients that a formula works on.

    Parameters
    ----------
    owner : str
        The name of the transform.
    tensors : list of symbolic tensors
        The gradients.
    values : dict
        Checked hyperparameters by name.
    kinds : dict
        What each of them is.
    params : list of shared variables, optional
        The parameters, if they were given. Those of gradients that the library computed are known.

    Attributes
    ----------
    place : Place
        Where numbers that are given stand.
    wide : str
        The dtype of norms, and of the hyperparameters of a formula that sees all gradients, see
        `updates.precision`.
    """

    def __init__(
        self,
        owner: str,
        tensors: Iterable[Tensor],
        values: dict[str, Any],
        kinds: dict[str, Kind],
        params: Iterable[Any] = (),
    ) -> None:
        super().__init__(tensors)
        known = [p for grad in self for p in provenance.of(provenance.source_of(grad)).gradient_of]
        owners = tuple(map(whole, params)) or tuple(dict.fromkeys(known))
        self.place = Place(owner, owners)
        self.wide = wide(*(tensor.type.dtype for tensor in self))
        self.symbols = Symbols(values, kinds, self.place, self.wide)

    def in_dtype_of(self, tensor: Tensor, hyperparameter: Any) -> Any:
        """Return one of the hyperparameters in the dtype of a gradient."""
        return self.symbols.like(hyperparameter, tensor.type.dtype)


def gradient_transform(
    formula: Callable[Concatenate[Tensor, P], Any],
) -> GradientTransform[P, list[Tensor]]:
    """Make a gradient transform of a formula that sees one gradient.

    The formula takes the gradient and hyperparameters as symbols of its dtype.
    """
    of_one: Callable[..., Tensor] = formula

    def of_each(grads: Gradients, **hyperparameters: Any) -> list[Tensor]:
        return [of_one(grad, **grads.symbols.in_dtype(grad.type.dtype)) for grad in grads]

    return _transform(formula, of_each, "grads")


def joint_gradient_transform(
    formula: Callable[Concatenate[Gradients, P], R],
) -> GradientTransform[P, R]:
    """Make a gradient transform of a formula that sees all gradients.

    The formula takes `Gradients`, and hyperparameters in their dtype of norms.
    """
    return _transform(formula, formula, "grads")


def gradient_and_parameter_transform(
    formula: Callable[Concatenate[Gradients, list[TensorSharedVariable], P], R],
) -> GradientAndParameterTransform[P, R]:
    """Make a gradient transform of a formula that sees all gradients and all parameters."""
    return _transform(formula, formula, "grads", needs_params=True)


def tensors_transform(formula: Callable[Concatenate[Gradients, P], R]) -> TensorsTransform[P, R]:
    """Make a transform of several tensors of a formula that sees all of them as `Gradients`."""
    return _transform(formula, formula, "tensor_vars")


def tensor_transform(formula: Callable[Concatenate[Tensor, P], Tensor]) -> TensorTransform[P]:
    """Make a transform of one tensor of a formula; a list of tensors is refused.

    The formula takes the tensor, and hyperparameters in the dtype of its norms.
    """
    of_one: Callable[..., Tensor] = formula
    first, *parameters = parameters_of(formula)
    declaration = Declaration(
        formula.__name__,
        [waited_for(first.name, Grads | None)],
        parameters,
        Tensor | Deferred,
        schedules=False,
    )

    def run(arguments: dict[str, Any]) -> Tensor:
        named = arguments.pop(first.name)
        tensor = checked_tensor(first.name, named)
        tensor = named.values if has_names(named) else tensor  # from which names can be told
        grads = Gradients(declaration.name, [tensor], arguments, declaration.kinds)
        return with_names_of(named, of_one(tensor, **grads.symbols.in_dtype(grads.wide)))

    return declare(formula, declaration, run, _SHARED)


def _transform(
    formula: Callable[..., Any], run: Callable[..., Any], first: str, needs_params: bool = False
) -> Any:
    leading = [waited_for(first, Grads | None)]
    leading += [waited_for("params", Params | None)] * needs_params
    parameters = parameters_of(formula)[len(leading) :]
    declaration = Declaration(
        formula.__name__, leading, parameters, list[Tensor] | Deferred, schedules=False
    )

    def run_all(arguments: dict[str, Any]) -> Any:
        if isinstance(arguments[first], Mapping):
            return of_mapping(arguments.pop(first), arguments)
        named = kept(arguments.pop(first))
        given = tensors = checked_tensors(first, named)
        params: list[Any] = []
        if needs_params:
            params, tensors, _ = checked_training(
                as_items(named), arguments.pop("params"), rows=False
            )
        grads = Gradients(declaration.name, tensors, arguments, declaration.kinds, params)
        result = run(grads, *[params] * needs_params, **grads.symbols.in_dtype(grads.wide))
        changed = result[0] if isinstance(result, tuple) else result
        provenance.transformed(declaration.name, given, changed)
        changed = renamed(named, changed)
        return (changed, *result[1:]) if isinstance(result, tuple) else changed

    def of_mapping(grads: Mapping[Any, Any], arguments: dict[str, Any]) -> Any:
        params = arguments.get("params") or list(grads)
        if not are_params(list(grads)):
            raise TypeError(
                f"{first} must be a symbolic tensor, a list of them, or a mapping from shared "
                f"variable to gradient, got {grads!r} of type {type(grads).__name__}"
            )
        result = run_all(arguments | {first: gradients_of(grads, params)})
        if isinstance(result, tuple):
            return like(grads, params, result[0]), *result[1:]
        return like(grads, params, result)

    return declare(formula, declaration, run_all, _SHARED)


def _example(declaration: Declaration) -> str:
    params = ", [w]" * ("params" in declaration.leading)
    given = "".join(f", {argument}" for argument in required(declaration))
    return "\n".join(
        [
            ">>> import pytensor, updates",
            '>>> w = pytensor.shared(1.0, name="w")',
            ">>> grads = updates.get_or_compute_grads(w**2, [w])",
            f">>> [grad] = updates.{declaration.name}(grads{params}{given})",
            ">>> grad.type.dtype",
            "'float64'",
        ]
    )


_TENSORS = (
    "symbolic tensor, or list of symbolic tensors",
    "Gradients, or any floating-point tensors. Without them the call is deferred.",
)
_SHARED = Shared(
    leading={
        "grads": _TENSORS,
        "tensor_vars": _TENSORS,
        "tensor_var": (
            "symbolic tensor",
            "Weights, or any floating-point tensor. Without it the call is deferred.",
        ),
        "params": (
            "shared variable, or list of shared variables",
            "The parameter of each gradient.",
        ),
    },
    returns="list of symbolic tensors\nThe new gradients, in the order and of the types of the "
    "given ones. A `Deferred` when the call is deferred.",
    raises="ValueError, TypeError\nIf an argument is out of range or of the wrong kind; the "
    "message names it.",
    example=_example,
)

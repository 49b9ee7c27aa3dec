"""Declarations: what the signature of a function says, read once and kept to in every call.

- ``Declaration``: the arguments of a public function, with what each hyperparameter admits
- ``declared``: let a plain function keep to its signature
- ``parameters_of``, ``waited_for``: what a declaration is made of
- ``public``: export a function or a class from the module that defines it
- ``also_public``: export it under a second name
- ``public_names``: all that the modules of a package export
- ``named``: add the name of a public function to the errors that its checks raise
- ``unnamed``: let the errors of the user's own functions pass as they are
- ``Deferred``: a function with its hyperparameters bound, waiting for what it works on

A function whose first arguments are missing waits: ``adam(learning_rate=0.1)(loss, params)`` is
``adam(loss, params, learning_rate=0.1)``.
"""

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, ParamSpec, TypeVar, get_args, get_origin

from updates import docstrings
from updates.kinds import REQUIRED, Kind, kind_in
from updates.mappings import are_params, holds_steps
from updates.optimizer import Optimizer, on_gradients, updated

P = ParamSpec("P")
T = TypeVar("T")

# What a function that waits is in a chain, by the first argument that it waits for.
RULE, GRADIENT_TRANSFORM, UPDATE_TRANSFORM = "rule", "gradient transform", "update transform"
ROLE_OF = {
    "loss": RULE,
    "loss_or_grads": RULE,
    "grads": GRADIENT_TRANSFORM,
    "tensor_vars": GRADIENT_TRANSFORM,
    "updates": UPDATE_TRANSFORM,
}

# What checks raise.
_ERRORS = (TypeError, ValueError, FloatingPointError, FileNotFoundError, IsADirectoryError)


def public(definition: T) -> T:
    """Export a function or a class from the module that defines it."""
    export(definition)
    return definition


def also_public(definition: T, name: str) -> T:
    """Export a function under a second name."""
    _exports_of(definition).append(name)
    return definition


def export(definition: Any) -> None:
    """Add a name to the ``__all__`` of the module that defines it."""
    exports = _exports_of(definition)
    if not definition.__name__.startswith("_"):
        exports.append(definition.__name__)


def public_names(package: str) -> list[str]:
    """Return all that the imported modules of a package export, in the order of their import."""
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{package}.")]
    names = (name for module in modules for name in vars(module).get("__all__", ()))
    return list(dict.fromkeys(names))


def _exports_of(definition: Any) -> list[str]:
    module = sys.modules.get(definition.__module__)
    return vars(module).setdefault("__all__", []) if module else []


class Declaration:
    """The arguments of a public function, and what each of its hyperparameters admits.

    Parameters
    ----------
    name : str
        The name of the public function.
    leading : list of inspect.Parameter
        The arguments that it works on; without them the function waits.
    parameters : list of inspect.Parameter
        All others. Those whose annotation carries a `Kind` are hyperparameters.
    returns : annotation
        What the function returns.
    schedules : bool, optional
        Whether a schedule may stand where a scalar may.
    """

    def __init__(
        self,
        name: str,
        leading: list[inspect.Parameter],
        parameters: list[inspect.Parameter],
        returns: Any,
        schedules: bool = True,
    ) -> None:
        self.name = name
        self.leading = [parameter.name for parameter in leading]
        self.schedules = schedules
        self.kinds: dict[str, Kind] = {}
        self.optional: set[str] = set()
        shown = [
            parameter.replace(annotation=_plain(parameter.annotation)) for parameter in leading
        ]
        for parameter in parameters:
            kind, admits_none = kind_in(parameter.annotation)
            if kind is not None:
                self.kinds[parameter.name] = kind
            if admits_none:
                self.optional.add(parameter.name)
            shown.append(_shown(parameter))
        self.signature = inspect.Signature(shown, return_annotation=_plain(returns))

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return all arguments by name, defaults included, or say which does not belong."""
        bound = self._bound(self.signature.bind, args, kwargs)
        bound.apply_defaults()
        # What can be gone through once only is checked, and used afterwards.
        return {
            name: list(value) if name in self.kinds and hasattr(value, "__next__") else value
            for name, value in bound.arguments.items()
        }

    def bind_some(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return those arguments that are given by name."""
        return dict(self._bound(self.signature.bind_partial, args, kwargs).arguments)

    def check(self, arguments: dict[str, Any], waits: bool = False) -> None:
        """Refuse hyperparameters that are not admitted; one that waits may lack some."""
        for name, value in arguments.items():
            if value is REQUIRED:
                if not waits:
                    kind = self.kinds.get(name)
                    example = f", for example {name}={kind.example}" if kind else ""
                    raise TypeError(f"{name} is required{example}")
            elif name in self.kinds and not (value is None and name in self.optional):
                self.kinds[name].check(name, value, schedules=self.schedules)

    def waits(self, arguments: dict[str, Any]) -> bool:
        """Tell whether a call waits: all that the function works on is missing."""
        return bool(self.leading) and all(arguments[name] is None for name in self.leading)

    def remembered(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return what a call that waits remembers: hyperparameters, and what else was given."""
        parameters = self.signature.parameters
        return {
            name: value
            for name, value in arguments.items()
            if name in self.kinds
            or (name not in self.leading and value is not parameters[name].default)
        }

    def _bound(
        self, bind: Callable[..., inspect.BoundArguments], args: Any, kwargs: dict[str, Any]
    ) -> inspect.BoundArguments:
        try:
            return bind(*args, **kwargs)
        except TypeError:
            raise misspelt(self.name, self.signature, args, kwargs) from None


@public
class Deferred(Optimizer):
    """A function with its hyperparameters bound; calling it with what it works on applies it.

    ``adam(learning_rate=0.1)(loss, params)`` is ``adam(loss, params, learning_rate=0.1)``.
    Hyperparameters given in the second call replace the bound ones.

    Parameters
    ----------
    rule : function
        What to apply: a rule such as `adam`, or a transform such as `clip_by_global_norm`.
    hyperparameters : dict
        All its hyperparameters by name.

    Examples
    --------
    >>> import updates
    >>> rule = updates.amsgrad(beta1=0.5)
    >>> rule
    amsgrad(learning_rate=0.001, beta1=0.5, beta2=0.999, epsilon=1e-08)
    >>> rule(learning_rate=0.1)
    amsgrad(learning_rate=0.1, beta1=0.5, beta2=0.999, epsilon=1e-08)
    """

    def __init__(self, rule: Callable[..., Any], hyperparameters: dict[str, Any]) -> None:
        self.rule = rule
        self.hyperparameters = hyperparameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the function to what it works on, or bind more hyperparameters."""
        declaration = declaration_of(self.rule)
        no_params = (
            self.role == GRADIENT_TRANSFORM or "params" not in declaration.signature.parameters
        )
        if len(args) == 2 and are_params(args[1]) and no_params:
            return self.applied(*args)  # as pytensor-ml calls everything
        given = declaration.bind_some(args, kwargs)
        return self.rule(**{**self.hyperparameters, **given})

    @property
    def role(self) -> str:
        """Whether it is a rule, a gradient transform or an update transform; "" if none."""
        return ROLE_OF.get(declaration_of(self.rule).leading[0], "")

    def applied(self, stage: Any, params: list[Any]) -> Any:
        """Apply it to gradients or to updates, whichever it works on."""
        if self.role == UPDATE_TRANSFORM:
            return self.on_updates(stage, params)
        if self.role == GRADIENT_TRANSFORM:
            return on_gradients(self._with, stage, params)
        return self(stage, params)

    def on_updates(self, updates: Any, params: list[Any], loss: Any = None) -> Any:
        """Change updates; a list is one of steps."""
        if isinstance(updates, list):
            updates = updated(params, updates)
        leading = declaration_of(self.rule).signature.parameters
        given: dict[str, Any] = {"updates": updates}
        if "loss" in leading and loss is not None:
            given["loss"] = loss
        if "params" in leading and not holds_steps(updates):
            given["params"] = params
        return self.rule(**{**given, **self.hyperparameters})

    def _with(self, grads: list[Any], params: list[Any]) -> Any:
        first, *others = declaration_of(self.rule).leading
        given = {first: grads} | dict.fromkeys(others, params)
        result = self.rule(**{**self.hyperparameters, **given})
        if isinstance(result, tuple):
            raise TypeError(f"{self!r} returns more than gradients; leave return_norm out")
        return result

    def __repr__(self) -> str:
        bound = (
            f"{name}={value!r}"
            for name, value in self.hyperparameters.items()
            if value is not REQUIRED
        )
        return f"{self.rule.__name__}({', '.join(bound)})"


def parameters_of(formula: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a formula, with annotations that are no texts."""
    return list(inspect.signature(formula, eval_str=True).parameters.values())


def waited_for(name: str, annotation: Any) -> inspect.Parameter:
    """Return an argument without which a function waits, or which it can do without."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(name, kind, default=None, annotation=annotation)


def declaration_of(function: Any) -> Declaration:
    """Return what a public function declares."""
    return function.__declaration__


def declare(
    formula: Callable[..., Any],
    declaration: Declaration,
    run: Callable[[dict[str, Any]], Any],
    shared: docstrings.Shared,
    is_public: bool = True,
) -> Any:
    """Make the public function of a formula: it binds, checks, waits, or runs.

    Parameters
    ----------
    formula : function
        What has the name, the module and the docstring.
    declaration : Declaration
        The public arguments.
    run : function
        What a call does with its arguments, all of them checked hyperparameters.
    shared : Shared
        What the docstrings of all functions of this kind have in common.
    is_public : bool, optional
        Whether to export it.
    """

    @functools.wraps(formula)
    def function(*args: Any, **kwargs: Any) -> Any:
        arguments = declaration.bind(args, kwargs)
        with named(declaration.name):
            waits = declaration.waits(arguments)
            declaration.check(arguments, waits)
            if not waits:
                return run(arguments)
        return Deferred(function, declaration.remembered(arguments))

    attributes: dict[str, Any] = vars(function)
    attributes["__signature__"] = declaration.signature
    attributes["__declaration__"] = declaration
    function.__annotations__ = {
        name: parameter.annotation for name, parameter in declaration.signature.parameters.items()
    }
    function.__doc__ = docstrings.completed(formula.__doc__, declaration, shared)
    if is_public:
        export(formula)
    return function


def declared(function: Callable[P, T]) -> Callable[P, T]:
    """Let a plain public function keep to the hyperparameters that its signature declares.

    Its docstring is complete already, and a call does not wait.
    """
    declaration = Declaration(function.__name__, [], parameters_of(function), None)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        arguments = declaration.bind(args, kwargs)
        with named(declaration.name):
            declaration.check(arguments)
            return function(*args, **kwargs)

    signature = inspect.signature(function, eval_str=True)
    shown = [p.replace(annotation=_plain(p.annotation)) for p in signature.parameters.values()]
    attributes: dict[str, Any] = vars(checked)
    attributes["__signature__"] = signature.replace(parameters=shown)
    attributes["__declaration__"] = declaration
    export(function)
    return checked


@contextmanager
def named(owner: str) -> Iterator[None]:
    """Add the name of a public function to the errors that are raised inside, if none has it."""
    try:
        yield
    except _ERRORS as error:
        attributes = vars(error)
        if "updates_owner" not in attributes and len(error.args) == 1:
            error.args = (f"{owner}: {error.args[0]}",)
            attributes["updates_owner"] = owner
        raise


@contextmanager
def unnamed() -> Iterator[None]:
    """Let errors of the user's own functions, and of PyTensor, pass without anybody's name."""
    try:
        yield
    except _ERRORS as error:
        vars(error).setdefault("updates_owner", "")
        raise


def misspelt(
    owner: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> TypeError:
    """Say in one line which argument of a call does not belong, and which may be meant."""
    given = [p for p in signature.parameters.values() if p.kind is not p.VAR_POSITIONAL]
    by_position = [p.name for p in given if p.kind is not p.KEYWORD_ONLY]
    names = [p.name for p in given]
    if unknown := [name for name in kwargs if name not in names]:
        meant = _meant(unknown[0], names)
        advice = f"its arguments are {', '.join(signature.parameters)}"
        advice = f"did you mean {meant}?" if meant else advice
        error = f"{owner} has no hyperparameter {unknown[0]!r}; {advice}"
    elif twice := [name for name in by_position[: len(args)] if name in kwargs]:
        error = f"{owner} got {twice[0]} twice, by position and by name"
    else:
        error = f"{owner} takes {', '.join(by_position)}, got {len(args)} arguments by position"
    return TypeError(error)


def _meant(given: str, names: list[str]) -> str | None:
    """Guess which of several names is meant: by initials, beginning or end, by its letters."""
    plain = given.lower().replace("_", "")
    for name in names:
        letters = name.replace("_", "")
        word = letters.rstrip("0123456789")
        initials = "".join(part[0] for part in name.split("_")) + letters.removeprefix(word)
        if plain in (letters, initials) or (len(plain) > 1 and letters.startswith(plain)):
            return name
    for name in names:
        letters = name.replace("_", "")
        word = letters.rstrip("0123456789")
        if len(plain) > 2 and (plain.startswith(word) or letters.endswith(plain)):
            return name
    close = difflib.get_close_matches(plain, names, n=1)
    return close[0] if close else _SYNONYMS.get(plain) if _SYNONYMS.get(plain) in names else None


# What other libraries call a hyperparameter, where no letter is the same.
_SYNONYMS = {"mu": "momentum", "eta": "learning_rate", "nu": "momentum", "l2": "weight_decay"}


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter as users should see it: what has no default is marked as required."""
    is_one = parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    is_required = is_one and parameter.default is parameter.empty
    default = REQUIRED if is_required else parameter.default
    return parameter.replace(annotation=_plain(parameter.annotation), default=default)


def _plain(annotation: Any) -> Any:
    """Return an annotation as users should see it: without what it carries for the library."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[0]
    options = get_args(annotation)
    if any(get_origin(option) is Annotated for option in options):
        return functools.reduce(lambda one, other: one | other, map(_plain, options))
    return annotation

"""Training without writing the loop: ``minimize`` runs it, ``iterate`` steps through its epochs."""

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from numbers import Integral
from typing import Any

from pytensor.graph.basic import Variable

from updates.declaration import public
from updates.arguments import Params
from updates.call import UpdatesLike
from updates.training.batches import Stream, source
from updates.training.functions import Functions, Problem, check_mode
from updates.training.history import History
from updates.training.loop import Limits, Monitors, Training
from updates.training.progress import Progress


@public
def minimize(
    loss: Variable,
    params: Params | None = None,
    inputs: Sequence[Variable] | None = None,
    *,
    rule: Callable[..., Any],
    train: Any,
    valid: Any = None,
    updates: UpdatesLike | None = None,
    monitors: Mapping[str, Variable] | Sequence[tuple[str, Variable]] | None = None,
    monitor_gradients: bool = False,
    monitor_updates: bool = False,
    batch_size: int = 32,
    train_batches: int | None = None,
    seed: int = 0,
    max_updates: int | None = None,
    max_epochs: int | None = None,
    patience: int | None = 5,
    validate_every: int = 10,
    min_improvement: float = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    progress: bool = True,
    mode: Any = None,
) -> History:
    """Minimize a loss: compile a rule, run it over mini-batches, keep the best parameters.

    This is about ::

        step = pytensor.function(inputs, loss, updates={**updates, **rule(loss, params)})
        for epoch in range(max_epochs):
            for batch in mini_batches(train):
                step(*batch)
            if epoch % validate_every == 0: validate, keep the best parameters, stop if it is time

    However it ends, by itself, by Ctrl-C (which waits for the step under way) or by an error, the
    parameters are those of the best validation.

    Parameters
    ----------
    loss : symbolic scalar
        What to minimize, a mean over the rows of a mini-batch as a rule.
    params : shared variable, or list of shared variables, optional
        What to minimize it over. By default all floating-point shared variables that `loss` has a
        gradient for and `updates` does not change: give them if data are in shared variables too.
    inputs : list of symbolic inputs, optional
        What `train` and `valid` have arrays for. By default all inputs that are needed, in the
        order in which they were made.
    rule : callable
        Takes loss and parameters and returns updates: a rule called without a loss, such as
        ``adam(learning_rate=0.01)``, or a function of your own that composes gradients, rule and
        transforms.
    train : arrays, iterable of batches, or callable
        The data to train on. Arrays, one for each input in a list, or in a dictionary by the
        input's name: rows are split into mini-batches, shuffled anew for every pass, the remainder
        is a smaller one. An iterable gives such lists or dictionaries, one for each batch; a
        callable returns one in each call. None if there are no inputs.
    valid : arrays, iterable of batches, or callable, optional
        The data to validate on. By default `train`.
    updates : dict or list of pairs, optional
        Further updates of the training step, of running means or random generators for instance.
        Validation does not advance them.
    monitors : dict of str to symbolic scalar, or list of pairs, optional
        What to record beside the loss.
    monitor_gradients : bool, optional
        Whether to record the norm of each gradient, as ``"grad(<parameter>)"``.
    monitor_updates : bool, optional
        Whether to record the norm of each parameter's step, as ``"update(<parameter>)"``.
    batch_size : int, optional
        Rows of a mini-batch of arrays. All of them if it is 0 or less.
    train_batches : int, optional
        Batches that make an epoch, > 0. By default all of `train`; for a callable its length, or
        100 if it has none.
    seed : int, optional
        Seed of the order of the rows, >= 0.
    max_updates : int, optional
        Stop after this many steps, > 0.
    max_epochs : int, optional
        Stop after this many epochs, > 0.
    patience : int or None, optional
        Stop when more validations than this in a row, >= 0, have not improved the loss. None
        never does.
    validate_every : int, optional
        Epochs between validations, > 0. There is one before the first epoch and one after the last
        step as well.
    min_improvement : float, optional
        Share of the loss, finite and >= 0, by which a validation has to be lower than the last one
        that improved, to count as an improvement in the sense of `patience`.
    checkpoint : path, optional
        A file that keeps all of it: written every so often, at every new best, and at the end. If
        it is there already, training goes on from it, and ends bit for bit as if it had never
        been stopped. Iterables and callables have to give the same batches again.
    checkpoint_every : float, optional
        Seconds from one of these to the next, finite and >= 0; 0 saves after every step.
    progress : bool, optional
        Whether to tell on stderr how things are: with a bar in a terminal and in a notebook that
        has widgets (needs tqdm), with a line every ten seconds elsewhere.
    mode : str or Mode, optional
        How to compile, as for ``pytensor.function``.

    Returns
    -------
    History
        The monitors of each epoch and validation, the best, and why it stopped; ``plot()`` draws
        them.

    Raises
    ------
    FloatingPointError
        If the loss becomes NaN or infinite: the message has the epoch, the step and the first
        gradient that is not finite. With a rule under `apply_if_finite`, which skips such steps,
        training goes on, and they do not count in the means.
    CheckpointError
        If `checkpoint` is damaged, or of another model or data. Nothing is changed then.
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or data do not fit the inputs.
    ImportError
        If a bar could be drawn and tqdm is not there.

    See Also
    --------
    iterate : the same, epoch by epoch.
    many_steps : many steps in one call, for small networks.

    References
    ----------
    After ``downhill.minimize``, Leif Johnson 2014, which says what `patience`, `validate_every` and
    `min_improvement` are.

    Examples
    --------
    >>> import numpy as np, pytensor, pytensor.tensor as pt, updates
    >>> x, y = pt.matrix("x"), pt.vector("y")
    >>> w = pytensor.shared(np.zeros(2), name="w")
    >>> loss = ((x @ w - y) ** 2).mean()
    >>> data = np.random.default_rng(0).normal(size=(100, 2))
    >>> history = updates.minimize(
    ...     loss, rule=updates.adam(learning_rate=0.1), train=[data, data @ [1.0, -2.0]],
    ...     max_epochs=100, progress=False, mode="FAST_COMPILE",
    ... )
    >>> w.get_value().round(3)
    array([ 1., -2.])
    >>> history.stopped
    'max_epochs'
    >>> history.train["epoch"][-1], history.train["step"][-1], history.valid["epoch"][:3]
    (100, 400, [0, 10, 20])
    """
    epochs = _training("minimize", **locals()).epochs()
    while True:
        try:
            next(epochs)
        except StopIteration as end:
            return end.value


@public
def iterate(
    loss: Variable,
    params: Params | None = None,
    inputs: Sequence[Variable] | None = None,
    *,
    rule: Callable[..., Any],
    train: Any,
    valid: Any = None,
    updates: UpdatesLike | None = None,
    monitors: Mapping[str, Variable] | Sequence[tuple[str, Variable]] | None = None,
    monitor_gradients: bool = False,
    monitor_updates: bool = False,
    batch_size: int = 32,
    train_batches: int | None = None,
    seed: int = 0,
    max_updates: int | None = None,
    max_epochs: int | None = None,
    patience: int | None = 5,
    validate_every: int = 10,
    min_improvement: float = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: float = 60.0,
    progress: bool = True,
    mode: Any = None,
) -> Generator[tuple[Monitors, Monitors], None, History]:
    """Minimize a loss as `minimize` does, and yield the monitors after every epoch.

    Who leaves the loop early, with ``break``, keeps the parameters as they are then; when it ends
    by itself or by Ctrl-C during an epoch, they are those of the best validation.

    Parameters
    ----------
    The arguments of `minimize`.

    Yields
    ------
    (dict of str to float, dict of str to float)
        The monitors of the epoch, each the mean over its mini-batches as they were met, and those
        of the latest validation; with ``"epoch"`` and ``"step"``.

    Returns
    -------
    generator
        Its value at the end (of ``yield from``) is the `History`.

    Raises
    ------
    FloatingPointError, CheckpointError, ValueError, TypeError, ImportError
        As `minimize` does. What can be checked is checked when it is called.

    Examples
    --------
    >>> import pytensor, updates
    >>> w = pytensor.shared(4.0, name="w")
    >>> rule = updates.sgd(learning_rate=0.25)
    >>> epochs = updates.iterate(w**2, rule=rule, train=None, validate_every=1, progress=False)
    >>> for training, validation in epochs:
    ...     print(training["epoch"], training["loss"], validation["loss"])
    ...     if validation["loss"] < 0.5:
    ...         break
    1 16.0 4.0
    2 4.0 1.0
    3 1.0 0.25
    """
    return _training("iterate", **locals()).epochs(give_way=True)


def _training(
    owner: str,
    *,
    loss: Any,
    params: Any,
    inputs: Any,
    rule: Any,
    train: Any,
    valid: Any,
    updates: Any,
    monitors: Any,
    batch_size: int,
    checkpoint: Any,
    mode: Any,
    **numbers: Any,
) -> Training:
    """Check all arguments, compile, and put the parts of a run together."""
    for name, value in {"rule": rule, **numbers}.items():
        pass
    if not isinstance(batch_size, Integral) or isinstance(batch_size, bool):
        raise TypeError(f"{owner}: batch_size must be an integer, got {batch_size!r}")
    _check_path(owner, checkpoint)
    check_mode(owner, mode)
    problem = Problem(owner, loss, params, inputs, updates, monitors)

    form = {"inputs": problem.inputs, "batch_size": batch_size, "seed": numbers.pop("seed")}
    train_batches = numbers.pop("train_batches")
    trained = source(f"{owner}: train", train, per_epoch=train_batches, **form)
    validated = trained if valid is None else source(f"{owner}: valid", valid, **form)
    if valid is None and isinstance(trained, Stream) and trained.is_iterator:
        raise ValueError(
            f"{owner}: valid is train by default, but train is an iterator, which gives batches "
            "only once; give valid as well, or train as a list of batches or a callable"
        )

    watched = [numbers.pop("monitor_gradients"), numbers.pop("monitor_updates")]
    shown = numbers.pop("progress")
    limits = Limits(**numbers)
    progress = Progress(owner, shown, _most_steps(limits, trained.per_epoch))
    functions = Functions(owner, problem, rule, *watched, mode=mode)
    fingerprint = {
        "batch_size": int(batch_size),
        "seed": int(form["seed"]),
        "train_batches": train_batches and int(train_batches),
        "validate_every": int(limits.validate_every),
        "rows": [getattr(batches, "rows", None) for batches in (trained, validated)],
        "monitors": functions.names,
    }
    return Training(owner, functions, trained, validated, limits, checkpoint, fingerprint, progress)


def _check_path(owner: str, checkpoint: Any) -> None:
    if checkpoint is None:
        return
    if not isinstance(checkpoint, str | os.PathLike):
        raise TypeError(
            f"{owner}: checkpoint must be a path, got {checkpoint!r} of type "
            f"{type(checkpoint).__name__}"
        )
    folder = os.path.dirname(os.path.abspath(checkpoint))
    if not os.path.isdir(folder):
        raise FileNotFoundError(
            f"{owner}: checkpoint is to be written to {folder!r}, which is no folder"
        )
    if os.path.isdir(checkpoint or "."):
        raise IsADirectoryError(
            f"{owner}: checkpoint must be a file, and {checkpoint!r} is a folder"
        )


def _most_steps(limits: Limits, per_epoch: int | None) -> int | None:
    """Return after how many steps training ends at the latest, as far as that is known."""
    bounds = [limits.max_updates]
    if limits.max_epochs and per_epoch:
        bounds.append(limits.max_epochs * per_epoch)
    return min((bound for bound in bounds if bound is not None), default=None)

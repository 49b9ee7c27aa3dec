"""Training without writing the loop: ``minimize`` runs it, ``iterate`` steps through its epochs.

``iterate`` declares and documents the arguments, and ``minimize`` takes the same ones.
"""

import os
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from numbers import Integral
from typing import Any

from pytensor.graph.basic import Variable

from updates.arguments import Params
from updates.call import UpdatesLike
from updates.declaration import declared, unnamed
from updates.kinds import Count, Flag, Natural, NonNegativeNumber, WaitingRule
from updates.training.batches import Stream, source
from updates.training.functions import Functions, check_mode
from updates.training.history import History
from updates.training.loop import Limits, Monitors, Training
from updates.training.problem import Problem
from updates.training.progress import Progress
from updates.training.same_arguments import with_arguments_of
from updates.training.saving import RunCheckpoint, check_path


@declared
def iterate(
    loss: Variable,
    params: Params | None = None,
    inputs: Sequence[Variable] | None = None,
    *,
    rule: WaitingRule,
    train: Any,
    valid: Any = None,
    updates: UpdatesLike | None = None,
    monitors: Mapping[str, Variable] | Sequence[tuple[str, Variable]] | None = None,
    monitor_gradients: Flag = False,
    monitor_updates: Flag = False,
    batch_size: int = 32,
    train_batches: Count | None = None,
    seed: Natural = 0,
    max_updates: Count | None = None,
    max_epochs: Count | None = None,
    patience: Natural | None = 5,
    validate_every: Count = 10,
    min_improvement: NonNegativeNumber = 0.0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: NonNegativeNumber = 60.0,
    progress: Flag = True,
    mode: Any = None,
) -> Generator[tuple[Monitors, Monitors], None, History]:
    """Minimize a loss as `minimize` does, and yield the monitors after every epoch.

    If you leave the loop early, with ``break``, the parameters stay as they are at that moment.
    If training ends by itself, or by Ctrl-C during an epoch, they are those of the best validation.
    Arguments are checked when `iterate` is called, before the first epoch.

    Parameters
    ----------
    loss : symbolic scalar
        What to minimize, usually a mean over the rows of a mini-batch.
    params : shared variable, or list of shared variables, optional
        What to minimize it over. By default all floating-point shared variables that `loss` has a
        gradient for and `updates` does not change, unless data could be among them: if no input
        has any, or if one of them is indexed by an input.
    inputs : list of symbolic inputs, optional
        The inputs that `train` and `valid` have arrays for. By default all inputs that are needed,
        in the order in which they were made.
    rule : callable
        Takes loss and parameters and returns updates: a rule called without a loss, such as
        ``adam(learning_rate=0.01)``, or a function of your own that composes gradients, rule and
        transforms.
    train : arrays, iterable of batches, or callable
        The data to train on. Arrays, one for each input, come in a list or in a dictionary by the
        input's name; their rows are shuffled anew for every pass and split into mini-batches, of
        which the last is smaller if there is a remainder. A scalar input takes a number, the same
        for all batches. An iterable gives such a list or
        dictionary for each batch, and a callable returns one in each call. None if there are no
        inputs.
    valid : arrays, iterable of batches, or callable, optional
        The data to validate on. By default `train`.
    updates : dict or list of pairs, optional
        Further updates of the training step, for example of running means or random generators.
        Validation does not advance them.
    monitors : dict of str to symbolic scalar, or list of pairs, optional
        What to record besides the loss.
    monitor_gradients : bool, optional
        Whether to record the norm of each gradient, as ``"grad(<parameter>)"``.
    monitor_updates : bool, optional
        Whether to record the norm of each parameter's step, as ``"update(<parameter>)"``.
    batch_size : int, optional
        Rows of a mini-batch of arrays. If it is 0 or less, all rows make one batch.
    train_batches : int, optional
        Batches that make an epoch, > 0. By default all batches of `train`; for a callable as many
        as its length says, or 100 if it has no length.
    seed : int, optional
        Seed of the order of the rows, >= 0.
    max_updates : int, optional
        Stop after this many steps, > 0.
    max_epochs : int, optional
        Stop after this many epochs, > 0.
    patience : int or None, optional
        Stop when more validations in a row than this number, >= 0, have not improved the loss.
        With None, validations never stop training.
    validate_every : int, optional
        Epochs between validations, > 0. There is also one before the first epoch and one after the
        last step.
    min_improvement : float, optional
        Fraction of the loss, finite and >= 0, by which a validation must be lower than the last
        improvement to count as one for `patience`.
    checkpoint : path, optional
        A file that keeps everything the run needs. It is written at intervals, at every new best
        validation, and at the end. If it exists already, training continues from it and ends bit
        for bit as if it had never been stopped. Iterables and callables have to give the same
        batches again.
    checkpoint_every : float, optional
        Seconds between checkpoints, finite and >= 0; 0 saves after every step.
    progress : bool, optional
        Whether to report on stderr: by a bar in a terminal, or in a notebook that has widgets, if
        tqdm is installed; otherwise by a line every ten seconds.
    mode : str or Mode, optional
        How to compile, as for ``pytensor.function``.

    Yields
    ------
    (dict of str to float, dict of str to float)
        The monitors of the epoch, each averaged over its mini-batches while it was trained, and
        those of the latest validation; both with ``"epoch"`` and ``"step"``.

    Returns
    -------
    generator
        Its return value, which ``yield from`` gives, is the `History`.

    Raises
    ------
    FloatingPointError
        If the loss becomes NaN or infinite. The message has the epoch, the step and the first
        gradient that is not finite. With a rule under `apply_if_finite`, which skips such steps,
        training goes on, and the skipped steps are left out of the means.
    CheckpointError
        If `checkpoint` is damaged, or belongs to another model or other data. Nothing is changed
        then.
    FileNotFoundError, IsADirectoryError
        If the folder of `checkpoint` does not exist, or `checkpoint` is a folder itself.
    ValueError, TypeError
        If an argument is out of range or of the wrong kind, or data do not match the inputs.

    See Also
    --------
    minimize : the same in one call, without a loop around it.

    References
    ----------
    After ``downhill.minimize``, Leif Johnson 2014, which defines `patience`, `validate_every` and
    `min_improvement`.

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


@declared
@with_arguments_of(iterate)
def minimize(**arguments: Any) -> History:
    """Minimize a loss: compile a rule, run it over mini-batches, keep the best parameters.

    In outline, it runs ::

        step = pytensor.function(inputs, loss, updates={**updates, **rule(loss, params)})
        for epoch in range(max_epochs):
            for batch in mini_batches(train):
                step(*batch)
            if epoch % validate_every == 0: validate, keep the best parameters, stop if it is time

    It is `iterate` run to its end. However it ends, by itself, by Ctrl-C (which waits for the step
    under way) or by an error, the parameters are those of the best validation.

    Returns
    -------
    History
        The monitors of each epoch and validation, the best validation, and what stopped training;
        ``plot()`` draws them.

    See Also
    --------
    iterate : the same, epoch by epoch.
    many_steps : many steps in one call, for small networks.

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
    epochs = _training("minimize", **arguments).epochs()
    with unnamed():  # the loop itself names its errors, and those of the user's code pass
        while True:
            try:
                next(epochs)
            except StopIteration as end:
                return end.value


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
    monitor_gradients: bool,
    monitor_updates: bool,
    batch_size: Any,
    train_batches: int | None,
    seed: int,
    checkpoint: Any,
    checkpoint_every: float,
    progress: bool,
    mode: Any,
    **limits: Any,
) -> Training:
    """Check all arguments, compile, and join the parts of a run."""
    if not isinstance(batch_size, Integral) or isinstance(batch_size, bool):
        raise TypeError(f"batch_size must be an integer, got {batch_size!r}")
    check_path(checkpoint)
    check_mode(mode)
    problem = Problem(loss, params, inputs, updates, monitors)

    batches = partial(
        source, inputs=problem.inputs, batch_size=int(batch_size), seed=seed, owner=owner
    )
    trained = batches("train", train, per_epoch=train_batches)
    validated = trained if valid is None else batches("valid", valid)
    if isinstance(validated, Stream) and validated.is_iterator:
        raise ValueError(
            "valid is train by default, but train is an iterator, which gives batches "
            "only once; give valid as well, or train as a list of batches or a callable"
            if valid is None
            else "valid is an iterator, which gives its batches only once, and every validation "
            "needs them; give a list of batches or a callable"
        )

    functions = Functions(problem, rule, monitor_gradients, monitor_updates, mode)
    fingerprint = {
        "batch_size": int(batch_size),
        "seed": int(seed),
        "train_batches": train_batches and int(train_batches),
        "validate_every": int(limits["validate_every"]),
        "rows": [getattr(data, "rows", None) for data in (trained, validated)],
        "monitors": functions.names,
    }
    ends = Limits(**limits)
    return Training(
        owner,
        functions,
        trained,
        validated,
        ends,
        RunCheckpoint(checkpoint, checkpoint_every, functions.kept, fingerprint),
        Progress(owner, progress, ends.most_steps(trained.per_epoch)),
    )

"""The command line of ``network3``: train the network of ``digit_cnn.py`` with one rule.

- ``main``: what ``python notebooks/network3.py`` runs; ``--help`` lists the options
"""

import argparse
import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from digit_cnn import cnn, load_cnn_data, one_blas_thread
from network3_distributed import averaged, own_share
from tuned_rules import TUNED_RULES


def main(arguments: Sequence[str] | None = None) -> None:
    """Train ``cnn`` as the arguments say, by default those of the command line."""
    distribution = argparse.ArgumentParser(add_help=False)
    distribution.add_argument(
        "--distributed",
        action="store_true",
        help="train with all processes of an MPI job, each on its share of the training data and "
        "with mini-batches of its own: mpirun -n 4 python network3.py --distributed",
    )
    parser = _parser(distribution)
    output: AbstractContextManager[Any] = contextlib.nullcontext()
    # parsed before the other arguments, so that only the root prints what is wrong with those
    if distribution.parse_known_args(arguments)[0].distributed:
        try:
            from updates.distributed import is_root
        except ImportError as error:
            parser.error(str(error))
        if not is_root():
            output = _silence()
    with output:
        _train(parser, parser.parse_args(arguments))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Discard what a ``with`` block prints; an exception that leaves it is still shown."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _parser(*parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
    def number(
        kind: type, lowest: float, allowed: str, is_open: bool = False
    ) -> Callable[[str], Any]:
        def parse(text: str) -> Any:
            try:
                value = kind(text)
            except ValueError:
                value = math.nan
            if not (lowest < value if is_open else lowest <= value) or math.isinf(value):
                raise argparse.ArgumentTypeError(f"expected {allowed}, got {text!r}")
            return value

        return parse

    parser = argparse.ArgumentParser(
        parents=parents,
        description="Train a convolutional network on handwritten digits with an update rule.",
        epilog="Results go to standard output, progress and timings to standard error.",
    )
    parser.add_argument(
        "--rule",
        default="sgd",
        choices=TUNED_RULES,
        metavar="NAME",
        help=f"one of {', '.join(TUNED_RULES)}; default: %(default)s",
    )
    parser.add_argument(
        "--eta",
        type=number(float, 0, "a number above 0", is_open=True),
        metavar="X",
        help="learning rate; default: one that suits the rule",
    )
    for name, default in {"--epochs": 8, "--mini-batch-size": 10}.items():
        parser.add_argument(
            name,
            type=number(int, 1, "a whole number of 1 or more"),
            default=default,
            metavar="N",
            help="default: %(default)s",
        )
    parser.add_argument(
        "--steps-per-call",
        type=number(int, 1, "a whole number of 1 or more"),
        default=1,
        metavar="N",
        help="mini-batches that one call of the training function goes through, for speed: the "
        "results are the same; default: %(default)s",
    )
    parser.add_argument(
        "--lmbda",
        type=number(float, 0, "a number of 0 or more"),
        default=0.0,
        metavar="X",
        help="weight of the L2 regularization; default: %(default)s",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="an mnist.pkl.gz; default: the digits of scikit-learn, expanded by shifts",
    )
    parser.add_argument(
        "--seed",
        type=number(int, 0, "a whole number of 0 or more"),
        default=0,
        metavar="S",
        help="of the initial weights; default: %(default)s",
    )
    return parser


def _train(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    try:
        from tqdm import tqdm
    except ImportError:
        parser.error('tqdm is not installed: pip install "pytensor-updates[demo]"')
    try:
        training_data, validation_data, test_data = load_cnn_data(options.data)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))

    rule, eta = TUNED_RULES[options.rule]
    np.random.seed(options.seed)
    net = cnn(options.mini_batch_size)
    try:
        if options.distributed:
            from updates.distributed import broadcast

            rule = averaged(rule)
            training_data = own_share(training_data, options.seed)
            broadcast(net.params)
        with one_blas_thread():
            log = net.SGD(
                training_data,
                options.epochs,
                options.mini_batch_size,
                eta if options.eta is None else options.eta,
                validation_data,
                test_data,
                lmbda=options.lmbda,
                rule=rule,
                progress=functools.partial(tqdm, desc=options.rule, unit="step"),
                report=tqdm.write,
                steps_per_call=options.steps_per_call,
            )
    except ValueError as error:
        parser.error(str(error))
    print(
        f"Compiled in {log.compile_seconds:.1f} s, "
        f"then {log.milliseconds_per_step:.2f} ms per step.",
        file=sys.stderr,
    )

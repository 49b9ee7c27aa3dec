"""``python -m updates``: the arguments, the errors and the exit status of the command.

- ``main``: run one command

What the commands do is in ``updates/command_line``.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

import pytensor

import updates
from updates import command_line

_RULES = """\
A rule is NAME or NAME:LEARNING_RATE. Without a learning rate it gets the best one from 1e-4 to
1e3, eight a decade: of the walks that never rise above the loss at the start, the one whose
largest loss in its last tenth is least. All other hyperparameters are the defaults; sam goes
round sgd. Of rules that keep an average, the average walks.

examples:
  python -m updates race
  python -m updates race --rules rmsprop:0.01,rmsprop:0.1,rmsprop --steps 500
  python -m updates race --function saddle --rules sgd,momentum,adam --plot saddle.png
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows ``python -m updates``; by default what was typed.

    Returns
    -------
    int
        The exit status: 0, or as a shell counts it 130 after Ctrl-C and 141 when what reads the
        output, `head` for instance, has closed it.

    Raises
    ------
    SystemExit
        With status 2 after one line on the standard error if the arguments are wrong, and with
        status 0 after a help text.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more at its exit, and must find an open file there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (command_line.CommandError, OSError) as error:
        options.parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def _parser() -> _Parser:
    parser = _Parser(
        prog="python -m updates",
        description="Symbolic update rules for PyTensor: list them, read them, watch them walk.",
    )
    version = f"updates {updates.__version__}, PyTensor {pytensor.__version__}"
    parser.add_argument("--version", action="version", version=version)
    parser.set_defaults(run=lambda options: parser.print_help(), parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", title="commands")

    text = "list every rule with its formula, defaults and source"
    rules = commands.add_parser("rules", help=text, description=f"{text.capitalize()}.")
    rules.set_defaults(run=_rules, parser=rules)

    text = "print one in full: signature, formula, parameters, source, example"
    show = commands.add_parser("show", help=text, description=f"{text.capitalize()}.")
    show.add_argument("name", metavar="NAME", help="a rule, or any other public name of updates")
    show.set_defaults(run=_show, parser=show)

    text = "walk rules on a function of two variables, and draw their trails"
    race = commands.add_parser(
        "race",
        help=text,
        description=f"{text.capitalize()}.",
        epilog=_RULES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    formulas = [f"{name}: {given.formula}" for name, given in command_line.FUNCTIONS.items()]
    race.add_argument(
        "--function",
        choices=command_line.FUNCTIONS,
        default="valley",
        metavar="NAME",
        help=f"what to walk on, {'; '.join(formulas)} (default: %(default)s)",
    )
    race.add_argument(
        "--rules",
        default="sgd,momentum,nesterov_momentum,adagrad,rmsprop,adam",
        metavar="RULE,RULE,...",
        help="who walks (default: %(default)s)",
    )
    race.add_argument(
        "--steps", default=100, type=_steps, metavar="N", help="how far (default: %(default)s)"
    )
    race.add_argument(
        "--plot",
        metavar="FILE",
        help="draw the trails over the contours, as .png, .svg, .pdf or .jpg",
    )
    race.set_defaults(run=_race, parser=race)

    text = "print the versions, settings and lost features that a bug report needs"
    versions = commands.add_parser("versions", help=text, description=f"{text.capitalize()}.")
    versions.set_defaults(run=_versions, parser=versions)
    return parser


def _rules(options: argparse.Namespace) -> None:
    print(command_line.rules_text(_width()), end="")


def _show(options: argparse.Namespace) -> None:
    print(command_line.show_text(options.name, _width()), end="")


def _race(options: argparse.Namespace) -> None:
    entrants = command_line.checked_entrants(options.rules)
    picture = None if options.plot is None else command_line.checked_picture(options.plot)
    function = command_line.FUNCTIONS[options.function]
    x1, x2 = function.start
    title = f"{options.function}: {function.formula} from ({x1:g}, {x2:g})"
    walks = command_line.race(function, entrants, options.steps, report=_report)
    _report("")
    print(title, command_line.table_text(function, walks, options.steps), sep="\n\n", end="")
    if picture is not None:
        command_line.draw(function, title, walks, picture)
        print(f"\nThe trails are in {picture}.")


def _versions(options: argparse.Namespace) -> None:
    print(command_line.versions_text(), end="")


def _report(rule: str) -> None:
    """Show who is walking while someone waits for it."""
    if sys.stderr.isatty():
        print(f"\r{rule:<40}\r", end="", file=sys.stderr, flush=True)


def _steps(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, got {text!r}")
    return int(text)


def _width() -> int:
    """Return how many characters go in a line: up to 100 in a terminal, 80 in a pipe."""
    return max(40, min(100, shutil.get_terminal_size().columns))


if __name__ == "__main__":
    sys.exit(main())

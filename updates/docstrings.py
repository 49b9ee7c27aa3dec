"""Docstrings: from what a function alone has to say to the whole that ``help`` shows.

- ``completed``: the numpy docstring of a declared function
- ``training_example``, ``required``: an example of anything that makes updates
- ``Shared``: what the docstrings of all functions of a kind have in common

In the source, a docstring is a summary, the update in code-like text and what else there is to
explain, and then, as far as needed and in this order,

- a line ``name : words`` for hyperparameters, several names separated by commas, with
  ``name (type) : words`` for one that no kind describes, ``state : slots`` for what is kept and
  ``returns : words`` for what is to be said of the result; in a rule, first of all,
  ``when : words; learning rate`` for when to reach for it and a learning rate to begin with;
- a line ```name` : words`` for each neighbour;
- the source, and examples if those that all functions of the kind share do not serve.

The types and the ranges come from the signature.
"""

import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from updates.kinds import REQUIRED

if TYPE_CHECKING:
    from updates.declaration import Declaration

_WIDTH = 92

# What ``when`` becomes, and how a reader of docstrings finds it again.
WHEN = "When to reach for it: {}. A first learning rate: {}."
_ENTRY = re.compile(r"(`?)([a-z][\w, ]*)\1(?: \(([^:]+)\))? : ")


@dataclass(frozen=True)
class Shared:
    """What the docstrings of all functions of a kind have in common.

    Parameters
    ----------
    leading : dict
        For each argument that the function works on, its type and a description.
    returns : str
        The type that is returned, and on the next lines what it is; ``{state}`` stands for the
        state that the function keeps.
    raises : str
        The same for errors.
    example : function
        From the declaration to the lines of an example.
    words : dict
        For hyperparameters that mean the same in most functions of the kind, what that is.
    """

    leading: dict[str, tuple[str, str]]
    returns: str
    raises: str
    example: Callable[["Declaration"], str]
    words: dict[str, str] = field(default_factory=dict)


def completed(source: str | None, declaration: "Declaration", shared: Shared) -> str | None:
    """Add to a docstring what its function declares, and what all functions of its kind share."""
    if source is None:  # under python -OO there are none
        return None
    body: list[str] = []
    own: dict[str, tuple[str, str]] = {}
    neighbours: list[str] = []
    references: list[str] = []
    examples: list[str] = []
    for paragraph in inspect.cleandoc(source).split("\n\n"):
        if paragraph.startswith(">>>") or examples:
            examples.append(paragraph)
        elif _ENTRY.match(paragraph):
            for backtick, names, kind, words in _entries(paragraph):
                if backtick:
                    neighbours.append(f"{names} : {words}" + "." * (words[-1:] != "."))
                else:
                    own |= {name.strip(): (kind, words) for name in names.split(",")}
        elif own or neighbours:
            references.append(paragraph)
        else:
            body.append(paragraph)
    _, state = own.pop("state", ("", ""))
    _, returned = own.pop("returns", ("", ""))
    _, when = own.pop("when", ("", ""))
    if when:
        body.append(_filled(WHEN.format(*when.rsplit("; ", 1)), ""))
    unknown = own.keys() - declaration.signature.parameters.keys()
    if unknown:
        raise ValueError(f"{declaration.name}: its docstring speaks of {unknown}, no arguments")
    sections = {
        "Parameters": _parameters(declaration, shared, own),
        "Returns": _unfolded(_returned(shared, state, returned)),
        "Raises": _unfolded(shared.raises),
        "See Also": "\n".join(_filled(line, "    ") for line in neighbours),
        "References": "\n\n".join(_filled(paragraph, "") for paragraph in references),
        "Examples": "\n\n".join(examples) or shared.example(declaration),
    }
    parts = ["\n\n".join(body)]
    parts += [f"{title}\n{'-' * len(title)}\n{text}" for title, text in sections.items() if text]
    return "\n\n".join(parts)


def training_example(declaration: "Declaration", call: str) -> str:
    """Train one number by the updates that a call makes, with what else it requires."""
    given = "".join(f", {argument}" for argument in required(declaration))
    return "\n".join(
        [
            ">>> import pytensor, updates",
            '>>> w = pytensor.shared(1.0, name="w")',
            ">>> loss = w**2",
            f">>> rule = updates.{declaration.name}({call}{given})",
            ">>> step = pytensor.function([], loss, updates=rule)",
            ">>> losses = [float(step()) for _ in range(10)]",
            ">>> losses[-1] < losses[0]",
            "True",
        ]
    )


def required(declaration: "Declaration") -> list[str]:
    """Give each required hyperparameter a value, and a rule a small learning rate."""
    parameters = declaration.signature.parameters.values()
    kinds = declaration.kinds
    needed = [p.name for p in parameters if p.default is REQUIRED or p.name == "learning_rate"]
    return [f"{name}={kinds[name].example}" for name in needed if name in kinds]


def _entries(paragraph: str) -> list[tuple[str, str, str, str]]:
    """Split a paragraph of definitions: backtick, names, type, words."""
    starts = list(re.finditer(rf"^{_ENTRY.pattern}", paragraph, re.M))
    ends = [*(start.start() for start in starts[1:]), len(paragraph)]
    return [
        (start[1], start[2], start[3] or "", " ".join(paragraph[start.end() : end].split()))
        for start, end in zip(starts, ends, strict=True)
    ]


def _parameters(declaration: "Declaration", shared: Shared, own: dict[str, tuple[str, str]]) -> str:
    lines: list[str] = []
    for name, parameter in declaration.signature.parameters.items():
        given_type, words = own.get(name, ("", ""))
        if name in declaration.leading or (name in shared.leading and name not in own):
            type_, text = shared.leading[name]
        elif kind := declaration.kinds.get(name):
            type_, range_ = kind.described(declaration.schedules)
            text = _joined(words or shared.words.get(name, kind.words), range_)
        else:
            type_, text = given_type, _joined(words, "")
        if name in declaration.optional:
            type_ += ", or None"
        if parameter.default is not REQUIRED and parameter.default is not parameter.empty:
            type_ += ", optional" * (name not in declaration.leading)
        entry = [f" : {type_}", _indented(text)]
        if words and lines and entry == [lines[-2][lines[-2].index(" : ") :], lines[-1]]:
            lines[-2] = lines[-2].replace(" : ", f", {name} : ", 1)  # they share one line
        else:
            lines += [name + entry[0], entry[1]]
    return "\n".join(lines)


def _joined(words: str, range_: str) -> str:
    """Join the words on a hyperparameter and its range to a sentence."""
    words = words[:1].upper() + words[1:].removesuffix(".")
    if not words and not range_:
        return "See above."
    if not words:
        return f"{range_[:1].upper()}{range_[1:]}."
    if not range_:
        return words + "." * (not words.endswith(".)"))
    if re.search(r"[.;,:]", words):
        return f"{words}. {range_[:1].upper()}{range_[1:]}."
    return f"{words}, {range_}."


def _returned(shared: Shared, state: str, returned: str) -> str:
    """Say what is returned: what all functions of the kind return, and what this one adds."""
    sentence = f" {_joined(returned, '')}" if returned else ""
    return shared.returns.format(state=state and f"; state: {state}") + sentence


def _unfolded(text: str) -> str:
    """Lay out a type and, below it, its description."""
    head, _, description = text.partition("\n")
    return f"{head}\n{_indented(description)}" if description else head


def _indented(text: str) -> str:
    return textwrap.indent(_filled(text, ""), "    ")


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        " ".join(text.split()),
        _WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )

"""The rules as text: their docstrings and signatures, split and laid out.

- ``rules_text``: every rule with its formula, defaults and source
- ``show_text``: one public name in full
- ``entries``: every rule, split into its parts
- ``Entry``: the parts of one rule

Nothing is told here that is not in the code: formulas are the list after the first line of a
docstring, defaults those of the signature, sources those of the section "References", and a
family is a file in ``updates/rules``.
"""

import inspect
import itertools
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import updates
from updates import rules
from updates.command_line.errors import unknown
from updates.declaration import public_names
from updates.docstrings import WHEN
from updates.kinds import REQUIRED

_HEADER = """\
p parameter, g gradient, x' the new value of x: all right-hand sides read old values. lr learning \
rate, mu momentum, wd weight decay, eps epsilon, b1 beta1, t the number of the call. What has no \
default is required. `python -m updates show NAME` prints one in full."""

_WHEN = re.compile(re.escape(WHEN).replace(r"\{\}", "(.*?)"))


class Entry(NamedTuple):
    """One rule: its name, the line about its family, and the parts of its docstring."""

    name: str
    family: str
    summary: str
    formula: list[str]
    when: str
    first_rate: str
    arguments: list[str]
    sources: list[str]


def rules_text(width: int) -> str:
    """List every rule: its call with all defaults, its formula and its sources, by family.

    Parameters
    ----------
    width : int
        Characters in a line.
    """
    blocks = [textwrap.fill(_HEADER, width)]
    for family, members in itertools.groupby(entries(), lambda entry: entry.family):
        blocks.append(textwrap.fill(family, width) + "\n" + "-" * width)
        blocks += ["\n".join(_entry_lines(entry, width)) for entry in members]
    return "\n\n".join(blocks) + "\n"


def show_text(name: str, width: int) -> str:
    """Give the signature and the docstring of one public name.

    Parameters
    ----------
    name : str
        One of ``updates.__all__``.
    width : int
        Characters in a line.

    Raises
    ------
    CommandError
        If there is no such name; the message has close ones.
    """
    if name not in (names := public_names(updates.__name__)):
        raise unknown("name", name, names, "`python -m updates rules` lists the rules")
    thing = getattr(updates, name)
    call = _wrapped_call(name, map(str, _parameters(thing)), width)
    return "\n".join([*call, "", *_docstring_lines(inspect.getdoc(thing) or "", width)]) + "\n"


def entries() -> list[Entry]:
    """Split every rule into its parts, by family.

    Examples
    --------
    >>> entries()[0]  # doctest: +NORMALIZE_WHITESPACE
    Entry(name='sgd', family='Gradient descent and its momentum forms',
          summary='Stochastic gradient descent.', formula=["p' = p - lr*g"],
          when='the baseline, and for smooth convex problems', first_rate='0.1',
          arguments=['learning_rate'], sources=['Robbins, Monro (1951)'])
    """
    # `momentum_updates` is `momentum`: a function is listed once, under its own name.
    names = public_names(rules.__name__)
    names = [name for name in names if getattr(rules, name).__name__ == name]
    return [_entry(name) for name in names]


def _entry(name: str) -> Entry:
    rule = getattr(rules, name)
    docstring = inspect.getdoc(rule) or ""
    summary, formula, *others = docstring.split("\n\n")
    lines = (" ".join(paragraph.split()) for paragraph in others)
    found = next(filter(None, map(_WHEN.fullmatch, lines)), None)
    when, first_rate = found.groups() if found else ("", "")
    [references] = re.findall(r"\nReferences\n-+\n(.*?)(?:\n\n|$)", docstring, re.S)
    _, _, *parameters = _parameters(rule)
    return Entry(
        name,
        (sys.modules[rule.__module__].__doc__ or "").splitlines()[0].removesuffix("."),
        summary,
        [_formula(line) for line in formula.splitlines()],
        when,
        first_rate,
        [p.name if p.default is REQUIRED else str(p) for p in parameters],
        _sources(references),
    )


def _parameters(thing: Any) -> list[inspect.Parameter]:
    """Return the parameters of a signature without their types."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except ValueError:  # an exception class, whose signature is that of its base in C
        return []
    return [parameter.replace(annotation=parameter.empty) for parameter in parameters]


def _sources(references: str) -> list[str]:
    """Shorten references to authors, year and, where it has one, the arXiv id or address.

    A reference begins with a capital letter after a full stop or a semicolon, and its authors end
    with the year in brackets.
    """
    text = re.sub(r"\s+", " ", re.sub(r'"[^"]*",?', "", references))
    starts = re.finditer(r"(?:^|; |\. )([A-Z][^;()]*\((?:[^()]*, )?\d{4}\))", text)
    sources = []
    for start in starts:
        rest = re.split(r"; |\. ", text[start.end() :])[0]
        found = re.search(r"arXiv:[\d.]+\d|https?://[^\s,;]+", rest)
        sources.append(f"{start[1]}, {found[0]}" if found else start[1])
    return sources


def _entry_lines(entry: Entry, width: int) -> Iterator[str]:
    yield from _wrapped_call(entry.name, entry.arguments, width)
    for line in entry.formula:
        yield from _wrapped_formula(line, width)
    yield from _wrapped(f"for  {entry.when}; lr {entry.first_rate}", width, " " * 4, " " * 9)
    yield from _wrapped(f"from {'; '.join(entry.sources)}", width, " " * 4, " " * 9)


def _wrapped_call(name: str, arguments: Iterable[str], width: int) -> list[str]:
    """Lay out a call over as many lines as it needs, indented like a call in code."""
    return _wrapped(f"{name}({', '.join(arguments)})", width, "", " " * 8)


def _wrapped_formula(line: str, width: int) -> list[str]:
    """Lay out a formula, with its remark on a line of its own where both do not fit in one."""
    formula, *remark = re.split(r" {3,}", line, maxsplit=1)
    joined = "   ".join([formula, *remark])
    parts = [joined] if len(joined) + 4 <= width else [formula, *("    " + r for r in remark)]
    return [wrapped for part in parts for wrapped in _wrapped(part, width, " " * 4, " " * 8)]


def _docstring_lines(docstring: str, width: int) -> Iterator[str]:
    """Lay out a docstring so that no line of its prose is too long."""
    body, *sections = re.split(r"^(\w[\w ]*)\n-+\n", docstring, flags=re.M)
    yield from _filled(body, width)
    for heading, text in zip(sections[::2], sections[1::2], strict=True):
        yield from (heading, "-" * len(heading))
        if heading == "Examples":
            yield from text.splitlines()
        else:
            yield from _filled(text, width, is_list=heading not in ("References", "Notes"))


def _filled(text: str, width: int, is_list: bool = False) -> Iterator[str]:
    """Fill paragraphs anew; in a list of arguments, the descriptions of each."""
    paragraphs: list[list[str]] = []
    previous = ""
    for line in text.splitlines():
        same = line.startswith(" ") == previous.startswith(" ") or previous.startswith("- ")
        is_entry = line.startswith("- ") or (is_list and not line.startswith(" "))
        if line and previous and same and not is_entry:
            paragraphs[-1].append(line.strip())
        else:
            paragraphs.append([line])
        previous = line
    for paragraph in paragraphs:
        joined = " ".join(paragraph)
        if re.match(r"- ``|``[^`]+``$", joined):
            yield from _wrapped_formula(_formula(joined), width)
        elif joined:
            indent = len(joined) - len(joined.removeprefix("- ").lstrip())
            yield from _wrapped(joined.replace("``", "`"), width, "", " " * indent)
        else:
            yield ""


def _formula(line: str) -> str:
    return line.removeprefix("- ").replace("``", "")


def _wrapped(text: str, width: int, first: str, others: str) -> list[str]:
    """Wrap a text at spaces only, with what its first line and the others begin with."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )

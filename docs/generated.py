"""Pages that follow from what the library declares: the reference, a page for every public name.

- ``write``: write them into the folder of the site
- ``tables_of_rules``: every rule with its update and when to reach for it
- ``with_mathematics``: the formulas of a docstring as mathematics
- ``KINDS``: in which order the kinds of names come
"""

import itertools
import json
import re
from pathlib import Path
from typing import Any

from mathematics import in_latex

import updates
import updates.distributed
from updates.command_line.catalogue import entries

# A kind: the package, a title, and what it makes of what.
KINDS = [
    ("updates.rules", "Rules", "From a loss or gradients and parameters to updates."),
    ("updates.gradients", "Gradient transforms", "From a loss or gradients to gradients."),
    (
        "updates.transforms",
        "Update transforms",
        "From updates to updates, and averages of parameters.",
    ),
    ("updates.projections", "Projections", "From a tensor to the nearest one of a set."),
    ("updates.chain", "Chains", "Transforms and a rule as one value."),
    ("updates.ready_made", "Ready made", "Compositions that are ready to use."),
    ("updates.schedules", "Schedules", "From the number of a step to a hyperparameter."),
    ("updates.training", "Training", "Loops."),
    ("updates.many_steps", "", ""),
    ("updates.hyperparameters", "Hyperparameters", "Read and set, without compiling."),
    ("updates.checkpoint", "State and checkpoints", "Saved, loaded, put back to its start."),
    ("updates.state_dict", "", ""),
    ("updates.state", "", ""),
    ("updates.description", "What a dictionary does", "As a table, and as a picture."),
    ("updates.declaration", "Waiting", "What a function without a loss and parameters returns."),
]
PAGE = """# {name}

```{{eval-rst}}
.. auto{what}:: updates.{name}{members}
```
{more}
"""
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"


def write(folder: Path) -> None:
    """Write the pages of the reference."""
    api = folder / "api"
    api.mkdir(exist_ok=True)
    index = ["# Reference\n\nA page for every public name. `help(updates.adam)` shows the same.\n"]
    listed: set[str] = set()
    peers = compared()
    for package, title, words in KINDS:
        names = [name for name in updates.__all__ if _is_of(package, name)]
        listed |= set(names)
        if title:
            index.append(f"\n## {title}\n\n{words}\n")
        index += _entries({name: getattr(updates, name) for name in names})
        for name in names:
            more = _peers(name, peers)
            if package == "updates.rules":
                more += _walk(name)
            _write_page(api / f"{name}.md", name, getattr(updates, name), more)
    index.append(
        "\n## Several processes\n\n`updates.distributed` is imported by itself; it needs mpi4py.\n"
    )
    distributed = {
        f"distributed.{name}": getattr(updates.distributed, name)
        for name in updates.distributed.__all__
    }
    index += _entries(distributed)
    for name, thing in distributed.items():
        _write_page(api / f"{name}.md", name, thing, "")
    write_if_new(api / "rules.txt", tables_of_rules())
    missing = set(updates.__all__) - listed
    if missing:
        raise ValueError(f"no page for {sorted(missing)}")
    index.append(
        "\n```{toctree}\n:hidden:\n\n" + "\n".join([*sorted(listed), *distributed]) + "\n```\n"
    )
    write_if_new(api / "index.md", "\n".join(index))


def tables_of_rules() -> str:
    """Return the tables of the page "Which rule?", one for each family."""
    lines = []
    for family, members in itertools.groupby(entries(), lambda entry: entry.family):
        lines += [
            f"### {family.partition(':')[0]}\n",
            "| rule | update | when to reach for it, first learning rate |",
            "|---|---|---|",
        ]
        for entry in members:
            update = "<br>".join(f"`{' '.join(line.split())}`" for line in entry.formula)
            cells = [
                f"[`{entry.name}`](api/{entry.name}.md)",
                f"{entry.summary}<br>{update}",
                f"{entry.when}; {entry.first_rate}",
            ]
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def with_mathematics(
    _: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Write each formula in a docstring's lists as mathematics; what is none stays code."""
    written: list[str] = []
    for line in lines:
        start = line.strip()
        formula = start[4:-2] if start.startswith("- ``") and start.endswith("``") else ""
        formula, *remark = re.split(r"\s{2,}(?=\(|if |otherwise)", formula, maxsplit=1)
        latex = in_latex(formula) if formula else None
        if latex is None:
            written.append(line)
            continue
        if written and written[-1].strip() and not written[-1].startswith("   "):
            written.append("")
        written += [".. math::", "", f"   {latex}", ""]
        for words in remark:  # when it holds, or what another setting makes of it
            written += [f"``{words}``", ""]
    lines[:] = written


def compared() -> dict[str, list[str]]:
    """Return, for each name, what the golden files compare it with."""
    found: dict[str, set[str]] = {}
    kept = json.loads((GOLDEN / "peers.json").read_text())
    for case in kept["cases"]:
        found.setdefault(case["rule"], set()).add(case["peer"])
    for case in json.loads((GOLDEN / "originals.json").read_text())["cases"]:
        found.setdefault(case["rule"], set()).add(f"{case['system']}, on Theano")
    return {name: sorted(peers) for name, peers in found.items()}


def _peers(name: str, peers: dict[str, list[str]]) -> str:
    if name not in peers:
        return ""
    return "\n**Compared with** " + ", ".join(f"`{peer}`" for peer in peers[name]) + ".\n"


def _entries(things: dict[str, Any]) -> list[str]:
    lines = ["| | |", "|---|---|"] if things else []
    for name, thing in things.items():
        summary = (thing.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        lines.append(f"| [`{name}`]({name}.md) | {summary.replace('``', '`')} |")
    return lines


def _write_page(path: Path, name: str, thing: Any, more: str) -> None:
    what = "class" if isinstance(thing, type) else "function"
    if isinstance(thing, type) and issubclass(thing, Exception):
        what = "exception"
    members = "\n   :members:" if what == "class" else ""
    write_if_new(path, PAGE.format(name=name, what=what, members=members, more=more))


def write_if_new(path: Path, text: str) -> None:
    """Write a page if it says something new, so that Sphinx builds only what has changed."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _is_of(package: str, name: str) -> bool:
    module = getattr(updates, name).__module__
    return module == package or module.startswith(f"{package}.")


def _walk(name: str) -> str:
    """Show the walk of a rule down the valley, which ``notebooks/valley.py --each`` draws."""
    name = {"momentum_updates": "momentum"}.get(name, name)
    return (
        f"\n```{{figure}} ../_static/walks/{name}.png\n:alt: The walk of {name} down a valley\n"
        ":width: 320px\n\n40 steps down `0.1*x1^2 + 2*x2^2` at the best learning rate of a grid.\n"
        "```\n"
    )

"""The files around the code: they can be read, and what they name exists."""

import re
from pathlib import Path

import numpy as np
import pytensor
import pytest
from catalogue import AS_WRITTEN

import updates
from updates.call import State, Tensor
from updates.kinds import Fraction, LearningRate, Share
from updates.rule import rule

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA_FILES = [
    *sorted(ROOT.glob(".github/**/*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]


def code_of(text):
    """Return the blocks and spans of code of a page."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", text, re.M | re.S)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    return blocks + re.findall(r"`([^`\n]+)`", prose)


def make_targets(text):
    """Return the targets that the commands of a page make."""
    commands = re.findall(r"\bmake((?: [a-z-]+(?![\w=]))+)", "\n".join(code_of(text)))
    return {target for command in commands for target in command.split()}


def paths(text):
    """Return the files and folders of the repository that the code of a page names."""
    words = re.split(r"[\s\"'(),]+", "\n".join(code_of(text)))
    files = {word for word in words if re.fullmatch(r"[\w./-]*(/|\w\.(cff|json|md|py|toml))", word)}
    folders = {word for word in words if re.fullmatch(r"[\w.-]+(/[\w.-]+)+", word)}
    return {word for word in files | folders if not word.startswith(".venv")}


@pytest.mark.parametrize("path", DATA_FILES, ids=lambda path: path.name)
def test_files_of_data_can_be_read(path):
    yaml = pytest.importorskip("yaml")
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


def test_the_version_that_is_cited_is_that_of_the_code():
    cited = re.findall(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert cited == [updates.__version__]


@pytest.mark.parametrize("text", [CONTRIBUTING, README], ids=["CONTRIBUTING", "README"])
def test_what_readers_are_told_to_make_can_be_made(text):
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = make_targets(text)
    assert {"test", "lint", "types", "bench"} <= named <= there


def test_the_files_that_contributors_are_sent_to_exist():
    named = paths(CONTRIBUTING)
    assert {"updates/rules/", "tests/catalogue.py", ".ci/run", "CHANGELOG.md"} <= named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("form", ["bug", "feature"])
def test_a_form_asks_for_an_example_and_for_the_versions(form):
    text = (ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text(encoding="utf-8")
    assert "python -m updates versions" in text
    assert "smallest program" in text


def test_the_rule_that_contributors_are_shown_computes_its_formula():
    [source] = re.findall(r"^```python\n(@rule\n.*?)^```$", CONTRIBUTING, re.M | re.S)
    names = {
        **{"rule": rule, "State": State, "Tensor": Tensor},
        **{"LearningRate": LearningRate, "Fraction": Fraction, "Share": Share},
        "__name__": "example",
    }
    exec(source, names)
    param = pytensor.shared(np.array([1.0, -2.0]), name="p")
    result = names["qhm"]((param**2).sum(), [param], learning_rate=0.1, momentum=0.9)
    step = pytensor.function([], updates=result, mode=AS_WRITTEN)
    p, m = param.get_value(), 0.0
    for _ in range(5):
        step()
        m = 0.9 * m + 0.1 * 2 * p
        p = p - 0.1 * (0.3 * 2 * p + 0.7 * m)
        np.testing.assert_allclose(param.get_value(), p, rtol=1e-12)

"""What the README and the commands promise happens."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytensor
import pytest
import valley

import updates
from updates.rules import __all__ as rules

ROOT = Path(__file__).parent.parent


def is_there(module):
    """Tell whether a module can be imported, with all that it needs."""
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def test_the_examples_of_the_readme_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    [first, *rest] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert first.count("\n") <= 16
    names = {}
    for example in [first, *rest]:
        needed = [module for module in ("pymc", "updates.distributed") if module in example]
        if not all(map(is_there, needed)):
            continue
        with pytensor.config.change_flags(mode="FAST_COMPILE"):
            exec(example, names)
    [promised] = re.findall(r"# (\[.*\])", first)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == promised
    assert printed[1].startswith("50 epochs, 150 steps, best validation loss")
    np.testing.assert_allclose(names["w"].get_value(), [1, -2, 0.5], atol=1e-3)


def test_the_readme_lists_every_public_name():
    text = (ROOT / "README.md").read_text()
    public = set(updates.__all__) - {"Deferred", "Description", "History", "Schedule"}
    assert [name for name in sorted(public) if f"`{name}" not in text] == []


def test_the_walks_down_the_valley_are_drawn(tmp_path):
    assert set(valley.SETTINGS) <= set(rules)
    sam, rmsprop = (valley.walk(name, steps=5) for name in ("sam", "rmsprop"))
    assert max(sam.end, rmsprop.end) < 0.2 * valley.VALLEY.loss(*valley.VALLEY.start)
    picture = tmp_path / "valley.png"
    valley.draw([sam, rmsprop], picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_demo_prints_a_table_and_draws_a_picture(tmp_path):
    picture = tmp_path / "learning_curves.png"
    command = [sys.executable, str(ROOT / "notebooks" / "race.py"), "--epochs", "1"]
    command += ["--rules", "sgd", "adam", "--picture", str(picture)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    header, line, *rows = [row for row in run.stdout.splitlines() if row.startswith("|")]
    assert "rule" in header
    assert set(line) <= set("|-:")
    assert [row.split("|")[1].strip() for row in rows] == ["sgd", "adam"]
    for row in rows:
        accuracies = [float(cell.strip(" %")) for cell in row.split("|")[3:5]]
        assert min(accuracies) > 80
    assert "100%" in run.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_demo_names_a_rule_that_it_does_not_know(tmp_path):
    command = [sys.executable, str(ROOT / "notebooks" / "network3.py"), "--rule", "adamm"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert run.returncode == 2
    assert "'adamm'" in run.stderr
    assert "deepmind_rmsprop" in run.stderr

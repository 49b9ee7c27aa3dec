"""What benchmarks/compare.py says about two files of results."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "compare.py"

OLD = {
    "machine": {"processor": "one", "cores used": "2", "updates": "aaa", "pytensor": "3.2"},
    "options": {"only": ["updates", "compile"], "size": 100, "json": "old.json"},
    "updates": {"adam": {"one array": {"updates": [1.0, 2.0, 9.0], "PyTorch fused": [2.0]}}},
    "compile": {"network": {"20": {"adam": {"cold": 20.0, "next process": 2.0}}}},
    "memory": {"updates": {"arrays": 1e9, "peak": 1.1e9}},
}
ADAM = ("updates", "adam", "one array")
COMPILING = ("compile", "network", "20", "adam")


def compare(folder, changes, *arguments):
    """Run the program on OLD and OLD with changes; return its exit status and its words."""
    new = copy.deepcopy(OLD)
    for (*parents, last), value in changes.items():
        place = new
        for key in parents:
            place = place[key]
        if value is None:
            del place[last]
        else:
            place[last] = value
    paths = [folder / "old.json", folder / "new.json"]
    for path, results in zip(paths, (OLD, new), strict=True):
        path.write_text(json.dumps(results))
    command = [sys.executable, str(PROGRAM), *map(str, paths), *arguments]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.returncode, " ".join((run.stdout + run.stderr).split())


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "words"),
    [
        ({}, [], 0, ["6 figures compared", "0 slower", "0 faster"]),
        (
            {(*ADAM, "updates"): [2.5, 2.5, 9.0]},
            [],
            1,
            [
                "| Slower |",
                "| updates / adam / one array / updates | 2.00 | 2.50 | 1.25 |",
                "1 slower",
            ],
        ),
        ({(*ADAM, "updates"): [2.5, 2.5, 9.0]}, ["--threshold", "1.3"], 0, ["0 slower"]),
        ({(*ADAM, "updates"): [0.1, 2.0, 90.0]}, [], 0, ["0 slower", "0 faster"]),
        ({(*COMPILING, "next process"): 1.0}, [], 0, ["| Faster |", "| 0.50 |", "1 faster"]),
        ({(*COMPILING, "cold"): 30.0, (*COMPILING, "next process"): 1.0}, [], 1, ["1 slower"]),
        ({("memory", "updates", "peak"): 2e9}, [], 1, ["memory / updates / peak"]),
        ({(*ADAM, "PyTorch fused"): [4.0]}, [], 0, ["1 slower, 0 of them of updates"]),
        ({("machine", "processor"): "two"}, [], 0, ["| processor | one | two |", "say little"]),
        ({("machine", "pytensor"): "3.3"}, [], 0, ["| pytensor | 3.2 | 3.3 |"]),
        ({("options", "size"): 200}, [], 0, ["| size | 100 | 200 |"]),
        (
            {("memory",): None},
            [],
            0,
            ["Only in old: memory / updates / arrays", "4 figures compared"],
        ),
        ({}, ["--threshold", "0.5"], 2, ["must be above 1"]),
    ],
)
def test_what_became_slower_or_faster_is_told(tmp_path, changes, arguments, status, words):
    found, text = compare(tmp_path, changes, *arguments)
    assert found == status, text
    assert [word for word in words if word not in text] == []


def test_another_commit_and_another_path_are_no_other_circumstances(tmp_path):
    changes = {("machine", "updates"): "bbb", ("options", "json"): "new.json"}
    status, text = compare(tmp_path, changes)
    assert status == 0
    assert "updates aaa -> bbb" in text
    assert "What differs" not in text


@pytest.mark.parametrize("written", [None, "no results", "[]", '{"updates": 1}'])
def test_a_file_without_results_is_not_taken_for_a_slow_one(tmp_path, written):
    path = tmp_path / "results.json"
    if written is not None:
        path.write_text(written)
    command = [sys.executable, str(PROGRAM), str(path), str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert str(path) in run.stderr.splitlines()[-1]

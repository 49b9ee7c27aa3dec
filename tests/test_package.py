"""What is built from the tree can be installed, and its metadata agree with what is written."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import updates

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = [
    ".ci",
    ".github",
    "benchmarks",
    "conda",
    "docs",
    "notebooks",
    "tests",
    "updates",
]  # of the source distribution
OF_THE_SITE = ("docs/_build/", "docs/api/", "docs/notebooks/run/")  # what it generates
NAME = f"pytensor_updates-{updates.__version__}"


def needs_a_build(test):
    """Mark a test that needs what is built once."""
    return pytest.mark.slow(pytest.mark.xdist_group("package")(test))


def run(*command, cwd):
    """Run a command that knows nothing of this tree, and return what it prints."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_in(tree, *folders):
    """Return the paths of the files in folders of a tree, relative to the tree."""
    paths = [path for folder in folders for path in (tree / folder).rglob("*") if path.is_file()]
    return {path.relative_to(tree).as_posix() for path in paths}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Copy the tree, where building leaves folders behind, and build both distributions."""
    pytest.importorskip("build.__main__", reason="needs build: pip install build")
    tree, made = tmp_path_factory.mktemp("source") / "tree", tmp_path_factory.mktemp("dist")
    left_out = [".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info"]
    left_out += ["build", "dist"]
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*left_out))
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", made, tree, cwd=made)
    wheel, source = made / f"{NAME}-py3-none-any.whl", made / f"{NAME}.tar.gz"
    assert sorted(made.iterdir()) == [wheel, source]
    return SimpleNamespace(tree=tree, wheel=wheel, source=source)


@needs_a_build
def test_the_wheel_holds_the_package_and_nothing_else(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"{NAME}.dist-info/")}
    assert names == files_in(built.tree, "updates")
    assert "updates/py.typed" in names


@needs_a_build
def test_the_source_distribution_holds_what_the_tests_read(built):
    with tarfile.open(built.source) as source:
        names = {member.name.partition("/")[2] for member in source if member.isfile()}
    suffixes = (".py", ".md", ".ipynb", ".yml", ".yaml")
    wanted = {name for name in files_in(built.tree, *FOLDERS) if name.endswith(suffixes)}
    wanted |= files_in(built.tree, ".ci", "tests/golden", "notebooks/thumbnails")
    wanted |= {path.name for path in built.tree.glob("*.md")}
    wanted |= {"CITATION.cff", "LICENSE", "Makefile", "conftest.py", "pyproject.toml", "setup.py"}
    assert {name for name in wanted - names if not name.startswith(OF_THE_SITE)} == set()
    assert [name for name in names if name.startswith(OF_THE_SITE)] == []
    folders = {name.partition("/")[0] for name in names if "/" in name}
    assert folders == {*FOLDERS, "pytensor_updates.egg-info"}


@needs_a_build
def test_the_first_example_of_the_readme_runs_with_the_wheel(built, tmp_path):
    folder, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    venv.create(folder, symlinks=os.name != "nt", with_pip=False)
    paths = sysconfig.get_paths("venv", {"base": str(folder), "platbase": str(folder)})
    python = Path(paths["scripts"]) / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*pip, "--no-index", "--no-deps", built.wheel, cwd=empty)
    # The dependencies are those of this environment. Its .pth files, and with them an editable
    # installation, are not read there. pip goes first, or it would find `updates` installed.
    site = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    Path(paths["purelib"], "dependencies.pth").write_text("\n".join(site))

    text = (ROOT / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    [promised] = re.findall(r"# (\[.*\])", example)
    example += "from importlib.metadata import version\n"
    example += "print(up.__file__, up.__version__, version('pytensor-updates'), sep='\\n')\n"
    printed, file, *versions = run(python, "-c", example, cwd=empty).splitlines()
    assert printed == promised
    assert Path(file).is_relative_to(folder)
    assert versions == [updates.__version__] * 2


def test_the_version_is_one():
    assert PROJECT["dynamic"] == ["version", "readme"]
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+|(a|b|rc)\d+)?", updates.__version__)
    recipe = (ROOT / "conda" / "recipe.yaml").read_text()
    assert re.findall(r'version: "(.*)"', recipe) == [updates.__version__]


def test_the_recipe_asks_for_what_the_project_asks_for():
    recipe = (ROOT / "conda" / "recipe.yaml").read_text()
    asked = re.search(r"^  run:\n((?:    - .*\n)+)", recipe, re.M).group(1)
    python = f"python{PROJECT['requires-python']}"
    assert asked.replace(" ", "").replace("-", "").split() == [python, *PROJECT["dependencies"]]


def test_the_extras_that_texts_name_exist():
    texts = [ROOT / "README.md", ROOT / "Makefile", *(ROOT / "docs").rglob("*.md")]
    for folder in ("updates", "notebooks", "benchmarks"):
        texts += (ROOT / folder).rglob("*.py")
    named = set()
    for path in texts:
        for extras in re.findall(r"pytensor-updates\[([\w,-]+)\]", path.read_text()):
            named |= set(extras.split(","))
    assert {"notebooks", "distributed"} <= named <= set(PROJECT["optional-dependencies"])


@needs_a_build
def test_links_and_pictures_of_the_description_are_absolute(built):
    with zipfile.ZipFile(built.wheel) as wheel:
        metadata = wheel.read(f"{NAME}.dist-info/METADATA").decode()
    assert "Description-Content-Type: text/markdown" in metadata
    links = re.findall(r"\]\(([^)]*)\)", metadata)
    home = PROJECT["urls"]["Homepage"]
    assert f"{home}/raw/main/notebooks/learning_curves.png" in links
    assert f"{home}/blob/main/docs/which_rule.md" in links
    assert [link for link in links if not link.startswith("https://")] == []


def test_all_links_lead_to_one_home():
    home = PROJECT["urls"]["Homepage"]
    assert set(PROJECT["urls"]) == {"Homepage", "Documentation", "Source", "Issues", "Changelog"}
    named = list(PROJECT["urls"].values())
    files = [".github/ISSUE_TEMPLATE/config.yml", "CITATION.cff", "conda/recipe.yaml"]
    files += ["CONTRIBUTING.md", "docs/getting_started.md"]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in ROOT.glob("*.md")}
    texts |= {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for folder in ("docs", ".github", "conda", "updates", "notebooks", "benchmarks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".md", ".yml", ".yaml", ".py", ".ipynb")
    } | {"CITATION.cff": (ROOT / "CITATION.cff").read_text()}
    for name, text in texts.items():
        if not name.startswith(OF_THE_SITE):
            own = re.findall(r"https://github\.com/\w+/updates\b[\w/#.]*", text)
            assert bool(own) == (name in files), name
            named += own
    assert [url for url in named if not url.startswith(home)] == []

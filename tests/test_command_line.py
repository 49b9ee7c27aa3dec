"""What ``python -m updates`` prints, draws and refuses."""

import inspect
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pytensor
import pytest

import updates
from updates import command_line, rules
from updates.__main__ import main
from updates.command_line import FUNCTIONS, CommandError, catalogue, versions
from updates.command_line.race import RATES, Walk, Walker, rule_at
from updates.kinds import REQUIRED
from updates.private import LOOP

NAMES = [name for name in rules.__all__ if name != "momentum_updates"]
ENTRIES = {entry.name: entry for entry in catalogue.entries()}


def run(*arguments):
    """Run the command in a process of its own."""
    command = [sys.executable, "-m", "updates", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def lines_of(capsys, *arguments):
    """Run a command that succeeds, and return the lines that it prints."""
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


# rules


def test_every_rule_is_listed_once_with_the_file_that_it_is_in():
    assert sorted(ENTRIES) == sorted(NAMES)
    assert len(catalogue.entries()) == len(NAMES) >= 49
    for name, entry in ENTRIES.items():
        source = inspect.getsourcefile(inspect.unwrap(getattr(rules, name)))
        with open(source) as file:
            assert file.readline() == f'"""{entry.family}.\n', name


@pytest.mark.parametrize("name", NAMES)
def test_every_rule_has_a_formula_arguments_and_a_source(name):
    entry = ENTRIES[name]
    assert any(re.match(r"p' = ", line) for line in entry.formula), entry.formula
    assert "`" not in "".join(entry.formula)
    assert entry.when
    assert re.match(r"[0-9.]+(,|$)|that of the rule inside$", entry.first_rate)
    parameters = list(inspect.signature(getattr(updates, name)).parameters.values())[2:]
    assert entry.arguments == [
        p.name if p.default is REQUIRED else f"{p.name}={p.default!r}" for p in parameters
    ]
    assert entry.sources
    for source in entry.sources:
        assert re.fullmatch(r"[A-Z][^;\"]* \((Lisa lab, )?(19|20)\d\d\)(, \S+)?", source), source
    identifiers = re.findall(r"arXiv:\d{4}\.\d{5}", inspect.getdoc(getattr(updates, name)))
    assert [i for i in identifiers if i not in " ".join(entry.sources)] == []


@pytest.mark.parametrize(
    ("name", "formula", "arguments", "sources"),
    [
        (
            "rmsprop",
            ["a' = rho*a + (1 - rho)*g^2", "p' = p - lr*g / sqrt(a' + eps)"],
            [
                "learning_rate=1.0",
                "rho=0.9",
                "epsilon=1e-06",
                "max_scaling=None",
                "epsilon_outside=None",
                "state_dtype=None",
            ],
            ["Tieleman, Hinton (2012)"],
        ),
        (
            "sam",
            ["q = p + rho*g(p) / norm(g(p)), one norm over all parameters", "p' = rule(g(q), p)"],
            ["rule", "rho=0.05"],
            ["Foret, Kleiner, Mobahi, Neyshabur (2020), arXiv:2010.01412"],
        ),
        (
            "nadamw",
            None,
            None,
            ["Dozat (2016)", "Loshchilov, Hutter (2017), arXiv:1711.05101"],
        ),
        (
            "muon",
            None,
            None,
            [
                "Jordan et al. (2024), https://kellerjordan.github.io/posts/muon",
                "Liu et al. (2025), arXiv:2502.16982",
            ],
        ),
    ],
)
def test_what_is_listed_is_what_the_docstring_says(name, formula, arguments, sources):
    entry = ENTRIES[name]
    assert entry.sources == sources
    assert formula in (None, entry.formula)
    assert arguments in (None, entry.arguments)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_list_keeps_to_the_width(width):
    text = command_line.rules_text(width)
    assert max(map(len, text.splitlines())) <= width
    assert text.isascii()


def test_the_list_begins_with_the_simplest_rule_and_a_grep_finds_the_defaults(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    lines = lines_of(capsys, "rules")
    calls = [line for line in lines if re.match(r"\w+\(", line)]
    assert calls[:2] == [
        "sgd(learning_rate)",
        "momentum(learning_rate, momentum=0.9, rate_in_velocity=True, state_dtype=None)",
    ]
    assert len(calls) == len(NAMES)
    assert "    p' = p - lr*g" in lines
    assert "    from Kingma, Ba (2014), arXiv:1412.6980" in lines


# show


@pytest.mark.parametrize("name", updates.__all__)
def test_every_public_name_is_shown_in_full(name):
    text = command_line.show_text(name, 80)
    docstring = inspect.getdoc(getattr(updates, name))
    prose, _, examples = text.partition("\nExamples\n")
    assert prose.startswith(f"{name}(")
    assert max(map(len, prose.splitlines())) <= 80
    words, shown = (re.sub(r"[\s`-]+", "", words) for words in (docstring, text))
    assert shown.endswith(words)
    assert examples.strip() == docstring.partition("\nExamples\n")[2]


def test_a_rule_is_shown_with_formula_parameters_and_source(capsys):
    lines = lines_of(capsys, "show", "gradient_updates_momentum")
    signature = " ".join(line.strip() for line in lines[: lines.index("")])
    assert signature == (
        "gradient_updates_momentum(loss_or_grads=None, params=None, learning_rate=<required>, "
        "momentum=<required>)"
    )
    assert "    v' = mu*v + (1 - mu)*g" in lines
    for heading in ("Parameters", "Returns", "Raises", "See Also", "References", "Examples"):
        assert lines[lines.index(heading) + 1] == "-" * len(heading)


# race


def test_gradient_descent_walks_as_the_closed_form_says():
    walk = Walker(FUNCTIONS["valley"], "sgd").walk(learning_rate=0.3, steps=20)
    n = np.arange(21)
    np.testing.assert_allclose(walk.points[:, 0], -5 * (1 - 0.2 * 0.3) ** n, rtol=1e-12)
    np.testing.assert_allclose(walk.points[:, 1], -2 * (1 - 4 * 0.3) ** n, rtol=1e-12)
    np.testing.assert_allclose(
        walk.losses, 0.1 * walk.points[:, 0] ** 2 + 2 * walk.points[:, 1] ** 2
    )
    assert walk.steps_to(walk.losses[7]) == 7
    assert walk.steps_to(0) is None


def test_adam_walks_on_rosenbrock_as_written_by_hand():
    walker = Walker(FUNCTIONS["rosenbrock"], "adam")
    walker.walk(learning_rate=0.5, steps=3)  # leaves nothing behind
    walk = walker.walk(learning_rate=0.1, steps=30)
    (x1, x2), m, v = walk.points[0], np.zeros(2), np.zeros(2)
    for t, point in enumerate(walk.points[1:], 1):
        g = np.array([2 * (x1 - 1) - 400 * x1 * (x2 - x1**2), 200 * (x2 - x1**2)])
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        rate = 0.1 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        x1, x2 = np.array([x1, x2]) - rate * m / (np.sqrt(v) + 1e-8)
        np.testing.assert_allclose(point, [x1, x2], rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_zero_at_their_minima_and_start_above_within_the_picture(name):
    function = FUNCTIONS[name]
    for minimum in function.minima:
        assert function.loss(*minimum) == function.distance(np.array(minimum)) == 0
        around = function.loss(*(np.array(minimum)[:, None] + 0.01 * np.eye(2)))
        assert (around > 0).all()
    assert function.loss(*function.start) > 1
    for at, (low, high) in zip(function.start, function.window, strict=True):
        assert low < at < high
    x1, x2 = 0.3, -0.7
    formula = function.formula.replace("^", "**")
    assert function.loss(x1, x2) == pytest.approx(eval(formula, {"x1": x1, "x2": x2}))


def test_plain_descent_stays_on_the_ridge_where_rmsprop_has_left_it():
    sgd, rmsprop = (Walker(FUNCTIONS["saddle"], name).walk(0.1, 30) for name in ("sgd", "rmsprop"))
    assert abs(sgd.points[-1, 0]) < 0.1
    assert rmsprop.points[-1, 0] > 1


def test_the_best_learning_rate_is_the_best_of_the_grid_by_its_last_tenth():
    walker = Walker(FUNCTIONS["valley"], "momentum")
    best = walker.best(steps=20)
    start = FUNCTIONS["valley"].loss(*FUNCTIONS["valley"].start)
    others = [walker.walk(rate, 20) for rate in RATES]
    calm = [walk for walk in others if walk.losses.max() <= start]
    assert best.searched
    assert best.learning_rate in RATES
    assert len(calm) < len(others)
    assert best.losses[-2:].max() == min(walk.losses[-2:].max() for walk in calm)


def test_no_learning_rate_of_the_grid_is_round():
    assert all(len(f"{rate:e}".split("e")[0].rstrip("0")) == 3 for rate in RATES)
    assert len(set(RATES)) == len(RATES) == 56


def test_a_walk_that_diverges_ends_and_is_named_last(capsys):
    lines = lines_of(capsys, "race", "--rules", "sgd:9,sgd:0.1", "--steps", "500")
    good, bad = (line.split() for line in lines[4:6])
    assert good[:2] == ["sgd", "0.1"]
    assert bad == ["sgd", "9", "diverged", "-", "-"]


def test_of_rules_that_average_the_average_walks():
    walker = Walker(FUNCTIONS["valley"], "schedule_free_sgd", momentum=0.5)
    walk = walker.walk(learning_rate=0.1, steps=2)
    # z' = z - lr*g(p), x' = the mean of all z, p' = (x' + z') / 2
    x, z = np.array([-5.0, -2.0]), np.array([-5.0, -2.0])
    for t, point in enumerate(walk.points[1:], 1):
        z = z - 0.1 * np.array([0.2, 4.0]) * (x + z) / 2
        x = x + (z - x) / t
        np.testing.assert_allclose(point, x, rtol=1e-12)


def test_every_rule_can_be_entered_with_its_learning_rate():
    for name in rules.__all__:
        rule = rule_at(name, 0.25)
        inner = rule.hyperparameters.get("rule", rule)
        assert inner.hyperparameters["learning_rate"] == 0.25
        assert REQUIRED not in rule.hyperparameters.values()


@pytest.mark.slow
@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_rule_races_and_gets_nearer(function):
    names = NAMES if function == "valley" else NAMES[::10]
    walks = command_line.race(
        FUNCTIONS[function], command_line.checked_entrants(",".join(names)), steps=20
    )
    assert {walk.rule for walk in walks} == set(names)
    for walk in walks:
        assert walk.end < walk.losses[0], walk.rule
        assert len(walk.points) == 21, walk.rule


def test_the_table_ranks_by_the_last_loss_and_tells_given_rates_from_found_ones(capsys):
    lines = lines_of(capsys, "race", "--rules", "sgd:0.1,momentum,sgd:0.1, sgd:0", "--steps", "9")
    assert lines[0] == "valley: 0.1*x1^2 + 2*x2^2 from (-5, -2)"
    assert lines[2].split("  ")[0] == "rule"
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines[4 : lines.index("", 4)]]
    assert [row[0] for row in rows] == ["momentum", "sgd", "sgd"]
    assert rows[0][1].endswith("*")
    assert [row[1:] for row in rows[1:]] == [
        ["0.1", f"{2.5 * 0.98**18 + 8 * 0.6**18:.2g}", f"{5 * 0.98**9:.2g}", "-"],
        ["0", "10", "5.4", "-"],
    ]


@pytest.mark.parametrize("suffix", ["png", "SVG"])
def test_the_trails_are_drawn(capsys, tmp_path, suffix):
    picture = tmp_path / f"trails.{suffix}"
    entrants = ",".join(f"sgd:{rate}" for rate in (0.1, 0.2, 9))
    lines = lines_of(capsys, "race", "--rules", entrants, "--steps", "5", "--plot", str(picture))
    assert lines[-1] == f"The trails are in {picture}."
    content = picture.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == "png" else b"</svg>" in content
    assert os.listdir(tmp_path) == [picture.name]


def test_a_picture_of_many_trails_gives_each_a_look_of_its_own(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "matplotlib.figure.Figure.savefig", lambda figure, *a, **k: figures.append(figure)
    )
    losses = np.array([8.0, 1.0])
    points = np.array([[-5.0, -2.0], [0.1, 9.0]])
    walks = [Walk(name, 0.1, points, losses) for name in NAMES]
    command_line.draw(FUNCTIONS["valley"], "many", walks, tmp_path / "many.png")
    [figure] = figures
    [axes] = figure.axes
    trails = [line for line in axes.lines if line.get_label() not in ("start", "minimum")]
    looks = {(t.get_color(), t.get_marker(), t.get_linestyle()) for t in trails}
    assert len(looks) == len(trails) == len(NAMES)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")
    assert axes.get_ylim() == (-3, 5)
    [legend] = figure.legends
    assert legend.get_texts()[0].get_text() == f"{NAMES[0]} 0.1: loss 1"


# versions


def facts_of(capsys):
    """Return the names and values that the command prints, in their order."""
    return dict(re.split(r"  +", line, maxsplit=1) for line in lines_of(capsys, "versions"))


def test_versions_and_settings_are_listed_without_importing_neighbours(capsys, monkeypatch):
    for neighbour in ("jax", "pymc", "pymc_extras", "pytensor_ml", "mpi4py"):
        monkeypatch.setitem(sys.modules, neighbour, None)  # to import it is an error now
    with pytensor.config.change_flags(floatX="float32", cxx=""):
        facts = facts_of(capsys)
    assert list(facts)[:3] == ["updates", "Python", "platform"]
    assert facts["updates"] == updates.__version__
    assert facts["pytensor"] == pytensor.__version__
    assert facts["numpy"] == np.__version__
    assert facts["numba"] == version("numba")
    assert facts["linker"].endswith("Linker)")
    assert (facts["floatX"], facts["C++ compiler"]) == ("float32", "none")
    assert facts["BLAS flags"] == (pytensor.config.blas__ldflags or "none")
    assert Path(facts["compile directory"]).expanduser() == Path(pytensor.config.compiledir)
    assert list(facts.items())[-1] == ("lost features", "none")


def test_only_what_is_needed_is_listed_as_not_installed(capsys, monkeypatch):
    def nothing(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(versions, "version", nothing)
    facts = facts_of(capsys)
    absent = [name for name, value in facts.items() if value == "not installed"]
    assert absent == ["pytensor", "numpy", "numba"]
    assert "jax" not in facts


def test_a_lost_feature_is_named_with_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(LOOP, "is_lost", True)
    facts = facts_of(capsys)
    assert "lost features" not in facts
    assert facts["lost feature"] == f"{LOOP.name}: {LOOP.without}"


# errors and exit status

ERRORS = [
    (["rulez"], ["COMMAND", "'rulez'", "show"]),
    (["rules", "adam"], ["unrecognized", "adam"]),
    (["--stpes"], ["unrecognized", "--stpes"]),
    (["show"], ["NAME", "required"]),
    (["show", "addam"], ["show: error", "unknown name 'addam'", "did you mean", "adam"]),
    (["show", "RMSProp"], ["'RMSProp'", "did you mean rmsprop"]),
    (["show", "qqqqq"], ["'qqqqq'", "python -m updates rules"]),
    (["show", "a\nb"], [r"'a\nb'"]),
    (["show", ""], ["unknown name ''"]),
    (["versions", "numba"], ["unrecognized", "numba"]),
    (["race", "--function", "bowl"], ["--function", "'bowl'", "saddle"]),
    (["race", "--rules", "adam,rmsprp"], ["unknown rule 'rmsprp'", "did you mean", "rmsprop"]),
    (["race", "--rules", "apply_momentum"], ["unknown rule 'apply_momentum'"]),
    (["race", "--rules", ""], ["unknown rule ''"]),
    (["race", "--rules", "sgd,"], ["unknown rule ''"]),
    (["race", "--rules", "sgd:"], ["sgd: learning_rate", "number", "''"]),
    (["race", "--rules", "sgd:fast"], ["sgd: learning_rate", "number", "'fast'"]),
    (["race", "--rules", "sgd:0.1:2"], ["sgd: learning_rate", "number", "'0.1:2'"]),
    (["race", "--rules", "sgd:-1"], ["sgd: learning_rate", ">= 0", "-1"]),
    (["race", "--rules", "sam:nan"], ["sam: learning_rate", ">= 0", "nan"]),
    (["race", "--rules", "adam:1e999"], ["adam: learning_rate", ">= 0", "inf"]),
    (["race", "--steps", "0"], ["--steps", "above 0", "'0'"]),
    (["race", "--steps=-5"], ["--steps", "above 0", "'-5'"]),
    (["race", "--steps", "1.5"], ["--steps", "whole", "'1.5'"]),
    (["race", "--steps", "many"], ["--steps", "whole", "'many'"]),
    (["race", "--plot", "trails"], ["'trails'", ".png"]),
    (["race", "--plot", "trails.doc"], ["'trails.doc'", ".svg"]),
    (["race", "--plot", "nowhere/trails.png"], ["no folder 'nowhere'"]),
    (["race", "--plot", "folder.png"], ["'folder.png'", "cannot be written"]),
    (["race", "--plot", "file/trails.png"], ["no folder 'file'"]),
]


@pytest.mark.parametrize(("arguments", "words"), ERRORS)
def test_what_cannot_be_done_is_one_line_and_status_2(
    arguments, words, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command_line, "race", lambda *a, **k: pytest.fail("raced"))
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("python -m updates")
    assert [word for word in ["error: ", *words] if word not in err] == []
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)
    with pytest.raises(CommandError, match="cannot be written"):
        command_line.checked_picture(str(tmp_path / "trails.png"))


def test_without_matplotlib_the_message_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit) as caught:
        main(["race", "--plot", "trails.png"])
    assert caught.value.code == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_a_disk_that_fills_up_is_one_line_as_well(capsys, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(SystemExit) as caught:
        main(["race", "--rules", "sgd:0.1", "--steps", "1", "--plot", str(tmp_path / "trails.png")])
    err = capsys.readouterr().err
    assert (caught.value.code, err.count("\n")) == (2, 1)
    assert "No space left on device" in err


def test_ctrl_c_ends_without_a_traceback(capsys, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "race", interrupted)
    assert main(["race"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["usage:", "rules", "show", "race", "versions"]),
        (["--help"], ["usage:", "rules", "show", "race", "versions"]),
        (["rules", "--help"], ["formula"]),
        (["show", "--help"], ["NAME"]),
        (["race", "--help"], ["--plot", "NAME:LEARNING_RATE", *FUNCTIONS, "saddle.png"]),
        (["versions", "--help"], ["bug report"]),
        (["--version"], [f"updates {updates.__version__}", "PyTensor"]),
    ],
)
def test_help_and_version_are_printed_with_status_0(arguments, words, capsys):
    try:
        status = main(arguments)
    except SystemExit as exit_:
        status = exit_.code
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    assert [word for word in words if word not in out] == []


def test_the_command_runs_as_a_module():
    process = run("show", "addam")
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("python -m updates show: error: unknown name 'addam'")
    assert process.stderr.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="needs pipes of a POSIX shell")
def test_output_that_nobody_reads_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "updates", "rules"]
    process = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (process.returncode, process.stderr) == (141, b"")

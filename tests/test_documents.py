"""What the README and the commands promise happens."""

import re
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import valley
from catalogue import AS_WRITTEN

import updates
from updates.rules import __all__ as rules

ROOT = Path(__file__).parent.parent
OPTIONAL = ("pymc", "pymc_extras", "pytensor_ml", "updates.distributed")
DOCS = ROOT / "docs"
WRITTEN = [DOCS / "api", DOCS / "notebooks" / "run", DOCS / "_build"]
PAGES = sorted(p for p in DOCS.rglob("*.md") if not any(map(p.is_relative_to, WRITTEN)))


def is_there(module):
    """Tell whether a module can be imported, with all that it needs."""
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def run_examples(text, names):
    """Run the Python blocks of a page one after another, as a reader would."""
    for example in re.findall(r"```python\n(.*?)```", text, re.S):
        needed = [module for module in OPTIONAL if module in example]
        if all(map(is_there, needed)):
            # Without a C compiler, which scan would call whatever the mode.
            with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
                exec(example, names)
    return names


def test_the_examples_of_the_readme_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text()
    first = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    assert first.count("\n") <= 16
    names = run_examples(text, {})
    [promised] = re.findall(r"# (\[.*\])", first)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [promised]
    np.testing.assert_allclose(names["w"].get_value(), [1, -2, 0.5], atol=1e-3)


def test_two_functions_take_the_steps_of_one(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "coming_from" / "theano.md").read_text()
    names = run_examples(text.partition("## Which rule")[0], {})
    lr, tparams, grads, cost = (names[name] for name in ("lr", "tparams", "grads", "cost"))
    symbols, batch = [names["x"], names["y"]], [names["inputs"][:16], names["labels"][:16]]
    starts = [param.get_value() for param in tparams.values()]
    rule = updates.adam(learning_rate=lr)
    with pytensor.config.change_flags(mode="FAST_COMPILE", cxx=""):
        store, apply, _ = names["two_functions"](rule, lr, tparams, grads, symbols, cost)
        step = pytensor.function([*symbols, lr], updates=rule(grads, tparams.values()))
    for rate in (0.1, 0.05, 0.01):
        store(*batch)
        apply(rate)
    ends = [param.get_value() for param in tparams.values()]
    for param, start in zip(tparams.values(), starts, strict=True):
        param.set_value(start)
    for rate in (0.1, 0.05, 0.01):
        step(*batch, rate)
    for param, start, end in zip(tparams.values(), starts, ends, strict=True):
        assert abs(end - start).max() > 0.05
        np.testing.assert_allclose(param.get_value(), end, rtol=1e-12)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_the_pages_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run_examples(page.read_text(), {})


def test_every_public_name_has_a_page_and_every_rule_a_walk(tmp_path):
    import_module("generated").write(tmp_path)  # as `make docs` does
    index = (tmp_path / "api" / "index.md").read_text()
    for name in updates.__all__:
        assert f"({name}.md)" in index
        page = (tmp_path / "api" / f"{name}.md").read_text()
        assert f":: updates.{name}\n" in page
        for picture in re.findall(r"\.\./(_static/walks/\w+\.png)", page):
            assert (DOCS / picture).exists()
        assert ("_static/walks" in page) == (name in rules)


def test_names_that_the_pages_call_ours_exist():
    public = {*updates.__all__, "mask"}
    for page in DOCS.glob("coming_from/*.md"):
        for row in re.findall(r"^\|[^|]*\|([^|]*)\|", page.read_text(), re.M):
            for name in re.findall(r"(?<![\w.])`([a-z]\w+)(?:\(.*?\))?`", row):
                assert name in public or page.stem == "theano", (page.stem, name)


def test_the_tables_of_rules_follow_from_what_the_rules_declare():
    table = import_module("generated").tables_of_rules()
    rows = [row.split(" | ") for row in table.splitlines() if "](api/" in row]
    names = [re.match(r"\| \[`(\w+)`", row[0])[1] for row in rows]
    assert sorted([*names, "momentum_updates"]) == sorted(rules)
    assert all(len(row) == 3 for row in rows), rows
    adamw = rows[names.index("adamw")]
    assert "`p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)`" in adamw[1]
    assert adamw[2] == "most networks; 0.001 |"


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


# The formulas of the programs that the page names, as they stand in their code: what is subtracted
# from a parameter at gradient g in call t = 1, 2, ..., given the state s.
LR, RHO, MU = 0.02, 0.8, 0.7


def mean(s, name, decay, value):
    s[name] = decay * s[name] + (1 - decay) * value
    return s[name]


def plain(lr):
    return lambda g, s, t: lr * g


def velocity(lr, mu, nesterov=False):
    def step(g, s, t):
        rate = lr(t) if callable(lr) else lr
        s["v"] = mu * s["v"] - rate * g
        return rate * g - mu * s["v"] if nesterov else -s["v"]

    return step


def old_velocity(g, s, t):
    before = s["v"]
    s["v"] = MU * before - LR * g
    return -before


def sum_of_squares(lr, inside=0, outside=0):
    def step(g, s, t):
        s["a"] = s["a"] + g**2
        return lr * g / (np.sqrt(s["a"] + inside) + outside)

    return step


def mean_of_squares(lr, rho, inside=0, outside=0, least=0):
    def step(g, s, t):
        root = np.sqrt(mean(s, "a", rho, g**2) + inside)
        return lr * g / (np.maximum(root, least) + outside)

    return step


def deviation(lr, rho, inside, mu=0):
    def step(g, s, t):
        variance = mean(s, "a", rho, g**2) - mean(s, "m", rho, g) ** 2
        s["v"] = mu * s["v"] - lr * g / np.sqrt(variance + inside)
        return -s["v"]

    return step


def step_sizes(lr, rho, inside):
    def step(g, s, t):
        delta = g * np.sqrt(s["d"] + inside) / np.sqrt(mean(s, "a", rho, g**2) + inside)
        mean(s, "d", rho, delta**2)
        return lr * delta

    return step


def corrected_rate(lr, b1=0.9, b2=0.999, eps=1e-8):
    def step(g, s, t):
        rate = lr * np.sqrt(1 - b2**t) / (1 - b1**t)
        return rate * mean(s, "m", b1, g) / (np.sqrt(mean(s, "a", b2, g**2)) + eps)

    return step


def corrected_moments(lr, b1, b2, eps=1e-8, b1_decay=1):
    def step(g, s, t):
        first = mean(s, "m", b1 * b1_decay ** (t - 1), g) / (1 - b1**t)
        return lr * first / (np.sqrt(mean(s, "a", b2, g**2) / (1 - b2**t)) + eps)

    return step


DL4MT = "dl4mt `nmt.py`, LSTM tutorial `lstm.py`"
KERAS = "Keras 1.0.3 to 1.2"
PROGRAMS = {
    (DL4MT, "`rmsprop`"): deviation(1e-4, 0.95, 1e-4, 0.9),
    (DL4MT, "`adadelta`"): step_sizes(1, 0.95, 1e-6),
    (DL4MT, "`adam` (`nmt.py`)"): corrected_rate(LR),
    (DL4MT, "`sgd`"): plain(LR),
    ("Radford, Theano-Tutorials", "`RMSprop`"): mean_of_squares(0.001, 0.9, 1e-6),
    ("Radford, Adam as a gist", "`Adam(b1=0.1, b2=0.001)`"): corrected_rate(2e-4),
    ("Radford, dcgan_code", "`RMSprop`"): mean_of_squares(0.001, 0.9, 1e-6),
    ("Radford, dcgan_code", "`Adam(lr=0.0002, b1=0.5)`"): corrected_moments(
        2e-4, 0.5, 0.999, b1_decay=1 - 1e-8
    ),
    ("Radford, dcgan_code", "`Momentum`"): velocity(0.01, 0.9),
    ("Radford, dcgan_code", "`NAG`"): velocity(0.01, 0.9, nesterov=True),
    ("Radford, dcgan_code", "`Adagrad`"): sum_of_squares(0.01, 1e-6),
    ("Radford, dcgan_code", "`Adadelta`"): step_sizes(0.5, 0.95, 1e-6),
    ("DeepMind's DQN, `deep_q_rl`", "`deepmind_rmsprop`"): deviation(2.5e-4, 0.95, 0.01),
    ("Karpathy, `min-char-rnn.py`", "Adagrad"): sum_of_squares(0.1, 1e-8),
    ("Karpathy, Pong", "RMSProp"): mean_of_squares(1e-4, 0.99, outside=1e-5),
    ("Keras until 1.0.2", "`RMSprop`"): mean_of_squares(0.001, 0.9, 1e-6),
    ("Keras until 1.0.2", "`Adagrad`"): sum_of_squares(0.01, 1e-6),
    (KERAS, "`RMSprop`"): mean_of_squares(LR, RHO, outside=1e-8),
    (KERAS, "`Adagrad`"): sum_of_squares(0.01, outside=1e-8),
    (KERAS, "`Adadelta`"): step_sizes(1, 0.95, 1e-8),
    (KERAS, "`Adam`"): corrected_rate(0.001),
    (KERAS, "`SGD(decay=0.01, nesterov=True)`"): velocity(
        lambda t: LR / (1 + 0.01 * (t - 1)), MU, nesterov=True
    ),
    ("Blocks", "`RMSProp`"): mean_of_squares(LR, 0.9, least=1e-5),
    ("Blocks", "`AdaGrad`"): sum_of_squares(0.002, outside=1e-6),
    ("Blocks", "`AdaDelta`"): step_sizes(1, 0.95, 1e-6),
    ("Blocks", "`Adam`"): corrected_rate(0.002),
    ("Blocks", "`Momentum`"): velocity(LR, MU),
    ("downhill", "`rmsprop`"): deviation(LR, 2 ** (-1 / 14), 1e-8, MU),
    ("downhill", "`rmsprop(nesterov=True)`"): deviation(LR * (1 + MU), 2 ** (-1 / 14), 1e-8, MU**2),
    ("downhill", "`adagrad`"): sum_of_squares(LR, 1e-8),
    ("downhill", "`adadelta`"): step_sizes(1, 2 ** (-1 / 14), 1e-8),
    ("downhill", "`adam`"): corrected_moments(LR, 2 ** (-1 / 7), 2 ** (-1 / 69)),
    ("by hand", "`v' = mu*v - lr*g; p' = p + v` (the old `v`)"): old_velocity,
}


def calls_of_programs():
    """Read program, name there and call here from the table of the page."""
    text = (DOCS / "coming_from" / "theano.md").read_text()
    calls, program = {}, ""
    for row in re.findall(r"^\| (.*?) ?\| (.*) \| `(up\..*)` \|$", text, re.M):
        program = row[0] or program
        calls[program, row[1]] = row[2]
    return calls


def test_every_program_of_the_page_has_a_formula():
    assert list(calls_of_programs()) == list(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_a_call_reproduces_the_formula_of_the_program(program):
    values = {"up": updates, "np": np, "pt": pt, "lr": LR, "rho": RHO, "mu": MU}
    rule = eval(calls_of_programs()[program], values)
    # Small gradients tell where epsilon is added.
    grads = np.random.default_rng(0).normal(size=(20, 5)) * [10, 1, 1e-2, 1e-4, 1e-6]
    param, grad = pytensor.shared(np.zeros(5), name="p"), pt.vector("g")
    step = pytensor.function([grad], updates=rule([grad], [param]), mode=AS_WRITTEN)
    expected, state = np.zeros(5), defaultdict(float)
    for t, g in enumerate(grads, 1):
        step(g)
        expected = expected - PROGRAMS[program](g, state, t)
        rtol = 1e-6 if "dcgan" in program[0] else 1e-9
        np.testing.assert_allclose(param.get_value(), expected, rtol=rtol, atol=1e-300)

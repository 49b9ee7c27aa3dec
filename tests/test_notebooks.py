"""The notebooks run, and come to what they say."""

import json
import os
import re
from pathlib import Path

import execute
import pytest

import updates

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.ipynb"))}
every_notebook = pytest.mark.parametrize("name", NOTEBOOKS)

# What must hold of the variables of each notebook when it has run.
RESULTS = {
    "01_does_the_order_matter": [
        "(a.get_value(), b.get_value()) == (2.0, 1.0)",
        "len(paths) == 4 and len(bits) == 1",
        "abs(loop_parameter_first - loop_velocity_first).max() > 0.5",
        "library_equals_tutorial and momentum_uses_new and slope_lags_one_call",
        "(old_ends[rates < 0.9] < 5).all() and (old_ends[rates > 1.5] > 5).all()",
        "(new_ends[rates < 17] < 5).all() and (new_ends[rates > 19] > 5).all()",
    ],
    "02_rmsprop_and_its_relatives": [
        "(f'{rmsprop[-1, 0]:f}', f'{rmsprop[-1, 1]:f}') == ('-0.010599', '0.000000')",
        "abs(adagrad[-1, 0]) > 2 and adagrad_steps > 200",
        "(np.diff(effective_rates(adagrad), axis=0) < 0).all()",
        "np.allclose(deepmind, graves, rtol=1e-9)",
        "slope_centred[-1] > 9 * slope_plain[-1]",
        "abs(walks[1e-6][40:, 1]).max() > 0.1 and abs(walks[1.0][40:, 1]).max() < 1e-9",
    ],
    "03_network3_with_momentum": [
        "abs(costs_book - costs_sgd).max() == 0",
        "(steps[0] == plain_steps[0]).all() and 7 < way / plain_way < 10",
        "len(velocities) == len(net.params)",
        "confusion.trace() == (predicted == test_labels).sum() > 280",
        "after.std() > 1.3 * before.std()",
    ],
    "04_deep_q_learning": [
        "max(first_runs['deepmind_rmsprop']['scores']) >= 195 > 5 * random_return",
        "first_runs['deepmind_rmsprop']['new_starts'] >= 150",
        "solved['deepmind_rmsprop'] >= 7 and min(solved.values()) >= 5",
        "greatest_lean['b2'] > 0.4 and later_lean['b2'] < 0.05 and chance < 0.03",
        "swing['deepmind_rmsprop'] < swing['rmsprop']",
    ],
    "05_composing_schedules_clipping_averaging": [
        "scheduled_loss[-50:].mean() < 0.75 * constant_loss[-50:].mean()",
        "not np.isfinite(path_unclipped[-1]).any() and final_loss < 1e-4",
        "(decayed['b1'] == without['b1']).all() and (decayed['W1'] != without['W1']).all()",
        "np.mean(calm[-100:]) < 0.8 * np.mean(noisy[-100:])",
        "np.array_equal(fast_path[::10], slow_path[::10]) and len(set(slow_path)) == 7",
        "accumulated_difference < 1e-12 and state['adam/step'] == 10",
        "rows_changed == [1, 2, 5, 8]",
    ],
    "06_bayesian_neural_network_advi": [
        "final_loss['scheduled'] + 3 < final_loss['pm.adam (0.1)']",
        "final_loss['pm.adam (0.1)'] < final_loss['pm.adam (0.001)'] - 5",
        "test_scores['scheduled'] > test_scores['pm.adam (0.001)'] + 0.05",
        "failure.startswith('NaN occurred') and skipped == np.isposinf(guarded.hist).sum() > 20",
    ],
    "07_stop_and_resume": [
        "files_are_equal and max(differences.values()) == 0 and len(losses_saved) == 50",
        "len(losses_whole) == 100 and np.array_equal(losses_whole, losses_resumed)",
        "histories_are_equal and params_are_equal",
        "nothing_changed and 'checksum does not fit' in damage",
    ],
    "08_five_posteriors": [
        "max(max(below[posterior, 'advi_optimizer(n)']) for posterior in POSTERIORS) < 2",
        "min(below['horseshoe', 'pm.adam at 0.01']) > 10",
        "min(below['hierarchical regression', \"PyMC's default\"]) > 100",
        "np.isnan(below['logistic regression', \"pymc-extras' default\"]).all()",
        "(without['horseshoe'][1:] > 10 * without['horseshoe'][0]).all()",
    ],
    "10_full_batches_lbfgs": [
        "above['lbfgs'] < 1e-6 < above['adam, 0.005'] and gap < 0.05",
        "curves['lbfgs'][0][60] < 0.0023 < curves['adam, 0.03'][0][200]",
        "abs(curves['lbfgs'][0][-1] - curves[\"SciPy's L-BFGS-B\"][0][-1]) < 1e-4",
    ],
    "09_layers_of_pytensor_ml": [
        "min(right for _, right in runs.values()) > 0.95",
        "np.ptp(list(ends.values())) < 1e-6",
        "max(errors.values()) < 0.02 < np.square(wanted).mean() / 5",
    ],
}


# What the tests run shorter than the notebook does, and what they then cannot see.
INSTEAD = {
    "03_network3_with_momentum": {
        '    "rmsprop, 0.002": (updates.rmsprop, 0.002),\n': "",
        '    "adam, 0.001": (updates.adam, 0.001),\n': "",
    },
    "04_deep_q_learning": {"SEEDS = range(10, 18)": "SEEDS = range(10, 12)"},
    "08_five_posteriors": {
        "seeds = 2_000, (1, 2, 3)": (
            "seeds = 2_000, (1,)\nPOSTERIORS = {'horseshoe': POSTERIORS['horseshoe']}"
        ),
        '("hierarchical regression", "horseshoe", "logistic regression")': "POSTERIORS",
    },
}
UNSEEN = {
    "04_deep_q_learning": "solved",
    "08_five_posteriors": "'hierarchical regression'|'logistic regression'",
}
# Where compiling for speed takes far longer than the calls.
IN_PYTHON = ("09_layers_of_pytensor_ml", "10_full_batches_lbfgs")


def code_cells(name):
    return [cell for cell in NOTEBOOKS[name]["cells"] if cell["cell_type"] == "code"]


def test_every_notebook_has_results_and_a_card_on_the_site():
    gallery = (FOLDER.parent / "docs" / "notebooks" / "index.md").read_text()
    assert set(NOTEBOOKS) == set(RESULTS)
    for name in NOTEBOOKS:
        assert f":link: run/{name}\n" in gallery
        assert (FOLDER / "thumbnails" / f"{name[:2]}.png").exists()


@every_notebook
def test_a_notebook_uses_public_names_only(name):
    code = "".join("".join(cell["source"]) for cell in code_cells(name))
    assert set(re.findall(r"\bupdates\.(\w+)", code)) <= set(updates.__all__)
    assert not re.search(r"from updates|import updates\.", code)


@every_notebook
def test_the_outputs_are_those_of_one_clean_run(name):
    counts = [cell["execution_count"] for cell in code_cells(name)]
    assert counts == list(range(1, len(counts) + 1))
    for cell in code_cells(name):
        assert len("".join(cell["source"]).splitlines()) <= 25
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr"
            text = json.dumps(output.get("text") or output["data"].get("text/plain", ""))
            assert not re.search(r"Warning|/home/|/root/|/tmp/|/usr/", text)


@pytest.mark.slow
@every_notebook
def test_a_notebook_runs_and_comes_to_what_it_says(name, monkeypatch):
    pytest.importorskip("nbclient")
    if name in IN_PYTHON:
        flags = os.environ.get("PYTENSOR_FLAGS", "")
        monkeypatch.setenv("PYTENSOR_FLAGS", f"{flags},mode=FAST_COMPILE,cxx=".lstrip(","))
    code = "".join("".join(cell["source"]) for cell in code_cells(name))
    for module in ("pymc", "pymc_extras", "pytensor_ml", "gymnasium"):
        if re.search(rf"\b(import|from) {module}\b", code):
            pytest.importorskip(module)
    unseen = UNSEEN.get(name, "$^")
    seen = [result for result in RESULTS[name] if not re.search(unseen, result)]
    checks = "\n".join(f"assert {result}" for result in seen)
    instead = INSTEAD.get(name, {})
    assert all(replaced in code for replaced in instead)
    execute.executed(FOLDER / f"{name}.ipynb", checks, instead)

"""Random dictionaries do what they do in a process that knows nothing of the library.

See ``random_updates.py`` for the dictionaries and ``differential_run.py`` for what is compared.
"""

import differential_run
import pytest
import random_updates

# Seeds for numba share a graph in groups of `VARIATIONS`; the others have a graph each.
STEP = random_updates.VARIATIONS
CHUNKS = [("NUMBA", range(128))]
CHUNKS += [("REWRITES", range(first, first + 192 * STEP, STEP)) for first in (10_000, 20_000)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "seeds"), CHUNKS, ids=[f"{mode}-{seeds.start}" for mode, seeds in CHUNKS]
)
def test_random_dictionaries_do_what_they_do_without_the_library(tmp_path, mode, seeds):
    found, plain, ours = differential_run.compared(seeds, tmp_path, mode)
    texts = [differential_run.report(seed, found[seed], mode) for seed in found]
    assert not found, "\n\n".join([f"{len(found)} of {len(seeds)} differ", *texts[:3]])
    assert not any(grouped for _, grouped, _ in plain.values())
    # The dictionaries are worth running: most are grouped, some are not, most calls succeed.
    assert len(seeds) / 2 < sum(grouped for _, grouped, _ in ours.values()) < len(seeds)
    failed = [seed for seed in seeds if "call 0 raises" in plain[seed][0]]
    assert len(failed) < len(seeds) / 5

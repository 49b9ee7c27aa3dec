"""Random dictionaries do what they do in a process that knows nothing of the library.

See ``random_updates.py`` for the dictionaries and ``differential_run.py`` for what is compared.
"""

import differential_run
import pytest
import random_updates

# Seeds in numba share a graph in groups of `VARIATIONS`; in Python each has a graph of its own.
CHUNKS = [("NUMBA", range(first, first + 128)) for first in range(0, 512, 128)]
CHUNKS += [
    ("REWRITES", range(first, first + 128 * random_updates.VARIATIONS, random_updates.VARIATIONS))
    for first in (1024, 2048)
]


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

"""What optax makes of gradients of single examples without noise: writes ``privacy.json``.

pip install optax jax
python tests/golden/make_privacy.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import optax

jax.config.update("jax_enable_x64", True)
random = np.random.default_rng(0)
# Six examples of a matrix, a vector and a scalar, of sizes that some bounds cut and some do not.
SIZES = np.array([0.01, 0.3, 1.0, 2.0, 10.0, 0.0])
GRADIENTS = [
    random.normal(size=(6, *shape)) * SIZES.reshape(6, *(1 for _ in shape))
    for shape in ((3, 2), (4,), ())
]
MAX_NORMS = [0.1, 1.0, 5.0, 1e3]


def main() -> None:
    cases = []
    for max_norm in MAX_NORMS:
        transform = optax.contrib.differentially_private_aggregate(max_norm, 0.0, key=0)
        made, _ = transform.update(GRADIENTS, transform.init(None))
        without_noise = [np.asarray(array).tolist() for array in made]
        cases.append({"max_norm": max_norm, "without_noise": without_noise})
    content = {
        "versions": {name: version(name) for name in ("optax", "jax")},
        "gradients": [array.tolist() for array in GRADIENTS],
        "cases": cases,
    }
    path = Path(__file__).parent / "privacy.json"
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What optax and Opacus make of gradients of single examples without noise: `privacy.json`.

pip install optax jax opacus torch
python tests/golden/make_privacy.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
import optax
import torch
from opacus.optimizers import DPOptimizer

jax.config.update("jax_enable_x64", True)
random = np.random.default_rng(0)
# Six examples of a matrix, a vector and a scalar, of sizes that some bounds cut and some do not.
SIZES = np.array([0.01, 0.3, 1.0, 2.0, 10.0, 0.0])
GRADIENTS = [
    random.normal(size=(6, *shape)) * SIZES.reshape(6, *(1 for _ in shape))
    for shape in ((3, 2), (4,), ())
]
MAX_NORMS = [0.1, 1.0, 5.0, 1e3]


def of_opacus(max_norm: float) -> list[list[float]]:
    """Return the gradients that Opacus' optimizer steps along."""
    params = [torch.zeros(array.shape[1:], dtype=torch.float64) for array in GRADIENTS]
    for param, array in zip(params, GRADIENTS, strict=True):
        param.requires_grad_()
        param.grad_sample = torch.tensor(array)
    optimizer = DPOptimizer(
        torch.optim.SGD(params, lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=max_norm,
        expected_batch_size=len(SIZES),
    )
    optimizer.pre_step()
    return [param.grad.numpy().tolist() for param in params]


def main() -> None:
    cases = []
    for max_norm in MAX_NORMS:
        transform = optax.contrib.differentially_private_aggregate(max_norm, 0.0, key=0)
        made, _ = transform.update(GRADIENTS, transform.init(None))
        without_noise = [np.asarray(array).tolist() for array in made]
        cases.append(
            {"max_norm": max_norm, "without_noise": without_noise, "opacus": of_opacus(max_norm)}
        )
    content = {
        "versions": {name: version(name) for name in ("optax", "jax", "opacus", "torch")},
        "gradients": [array.tolist() for array in GRADIENTS],
        "cases": cases,
    }
    path = Path(__file__).parent / "privacy.json"
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

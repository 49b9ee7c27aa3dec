"""What optax's projections make of some arrays: writes ``projections.json``.

pip install optax jax
python tests/golden/make_projections.py
"""

import json
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from optax import projections

jax.config.update("jax_enable_x64", True)
random = np.random.default_rng(0)
POINTS = [
    random.normal(size=5),
    random.normal(size=(3, 4)) * 3,
    random.normal(size=(2, 3, 2)) * 0.01,
    np.array([0.2, 0.3, 0.5]),
    np.array([2.0, 2.0, -1.0, 2.0]),
]
NORMALS = [random.normal(size=point.shape) for point in POINTS]
# Our name and arguments, and optax's function of a point and the normal of its shape.
CASES = [
    ("box", {"low": -0.5, "high": 1.0}, lambda x, n: projections.projection_box(x, -0.5, 1.0)),
    ("non_negative", {}, lambda x, n: projections.projection_non_negative(x)),
    ("halfspace", {"offset": 0.5}, lambda x, n: projections.projection_halfspace(x, n, 0.5)),
    ("halfspace", {"offset": -2.0}, lambda x, n: projections.projection_halfspace(x, n, -2.0)),
    ("simplex", {}, lambda x, n: projections.projection_simplex(x)),
    ("simplex", {"scale": 2.5}, lambda x, n: projections.projection_simplex(x, 2.5)),
    ("l1_ball", {}, lambda x, n: projections.projection_l1_ball(x)),
    ("l1_ball", {"radius": 3.0}, lambda x, n: projections.projection_l1_ball(x, 3.0)),
    ("l2_ball", {}, lambda x, n: projections.projection_l2_ball(x)),
    ("l2_ball", {"radius": 2.0}, lambda x, n: projections.projection_l2_ball(x, 2.0)),
    ("unit_sphere", {}, lambda x, n: projections.projection_l2_sphere(x)),
]


def main() -> None:
    rows = [
        {
            "projection": name,
            "arguments": arguments,
            "point": point.tolist(),
            "normal": normal.tolist(),
            "result": np.asarray(project(point, normal)).tolist(),
        }
        for name, arguments, project in CASES
        for point, normal in zip(POINTS, NORMALS, strict=True)
    ]
    content = {"versions": {name: version(name) for name in ("optax", "jax")}, "rows": rows}
    path = Path(__file__).parent / "projections.json"
    path.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()

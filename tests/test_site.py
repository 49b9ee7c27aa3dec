"""What the site makes of formulas."""

import pytest
from mathematics import in_latex

FORMULAS = {
    "m' = b1*m + (1 - b1)*g": r"m' = \beta_1\, m + \left(1 - \beta_1\right)\, g",
    "p' = p - lr*(m^ / (sqrt(v^) + eps) + wd*p)": (
        r"p' = p - \eta\, \left(\frac{\hat{m}}{\sqrt{\hat{v}} + \varepsilon} + \lambda\, p\right)"
    ),
    "a = 1; b = 2": r"a = 1,\qquad b = 2",
    "a = b - (c - d)": r"a = b - \left(c - d\right)",
    "a = b - c - d": r"a = b - c - d",
    "a = (b*c)^2": r"a = \left(b\, c\right)^{2}",
    "a = b*(c/d)": r"a = b\, \frac{c}{d}",
    "a = 2*3": r"a = 2 \cdot 3",
    "a = 1e-8*g": r"a = 10^{-8}\, g",
    "r = norm(p) + abs(g)": r"r = \lVert p \rVert + \lvert g \rvert",
    "v' = mu*v - lr*g(p + mu*v)": (r"v' = \mu\, v - \eta\, g\left(p + \mu\, v\right)"),
    "window'[t] = g": None,
    "the mean of g": None,
    "": None,
}


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_as_mathematics(text):
    assert in_latex(text) == FORMULAS[text]

"""The description of the package where packages are listed: the README, with absolute links.

All else is in ``pyproject.toml``.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent


def described() -> str:
    """Return the README; its links and pictures lead to the public home of the project."""
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    home = project["urls"]["Homepage"]
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    readme = re.sub(r"(!\[[^]]*\]\()(?!https?:)", rf"\1{home}/raw/main/", readme)
    return re.sub(r"(?<!!)(\[[^]]*\]\()(?!https?:|#)", rf"\1{home}/blob/main/", readme)


setup(long_description=described(), long_description_content_type="text/markdown")

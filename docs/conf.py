"""How Sphinx builds the site: ``make docs``."""

import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

import generated  # noqa: E402

import updates  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOME = PROJECT["urls"]["Homepage"]
project = "updates"
author = "the authors of updates"
project_copyright = f"2026, {author}"
version = release = updates.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build", "generated.py"]
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_merge_streams = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
autodoc_typehints = "none"
add_module_names = False
suppress_warnings = ["mystnb.unknown_mime_type"]
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"updates {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": HOME,
    "source_branch": "main",
    "source_directory": "docs/",
}
html_show_sphinx = False


def setup(app):
    """Write the pages that follow from what the library declares, before any page is read."""
    copied = HERE / "notebooks" / "run"
    copied.mkdir(exist_ok=True)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        text = notebook.read_text()
        text = text.replace("](../docs/", "](../../")
        text = re.sub(r"\]\((\w+\.py)\)", r"](../../../notebooks/\1)", text)
        generated.write_if_new(copied / notebook.name, text)
    generated.write(HERE)
    app.connect("source-read", at_home)
    app.connect("autodoc-process-docstring", generated.with_mathematics, priority=100)


def at_home(app, docname, source):
    """Let links to files that are not part of the site lead to the project's public home."""
    up = "../" * (docname.count("/") + 1)
    source[0] = re.sub(
        rf"(?<!!)(\[[^]]*\]\(){re.escape(up)}(?!\.\./)", rf"\1{HOME}/blob/main/", source[0]
    )

"""Run notebooks again and store their outputs, without traces of the machine they ran on.

    python notebooks/execute.py [notebooks/01_does_the_order_matter.ipynb ...]

Without arguments, all of them are run. This needs nbclient, ipykernel and what the notebooks
import.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

FOLDER = Path(__file__).parent
METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def executed(path: Path, checks: str = "", instead: Mapping[str, str] = {}) -> Any:
    """Run a notebook and return it with the new outputs.

    Parameters
    ----------
    path : Path
        The notebook; it runs in its own folder.
    checks : str, optional
        Code to run after it, in a cell of its own.
    instead : dict, optional
        What of its code to replace, and by what.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    import nbclient
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for code, other in instead.items():
            cell.source = cell.source.replace(code, other)
    if checks:
        notebook.cells.append(nbformat.v4.new_code_cell(checks))
    nbclient.NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    ).execute()
    notebook.metadata = METADATA
    for number, cell in enumerate(notebook.cells, 1):
        cell.id = f"c{number:02d}"
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = _joined(cell.outputs)
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Join printed text that arrived in pieces, because the pieces depend on the machine."""
    joined: list[Any] = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output.output_type == "stream" and output.get("name") == before.get("name"):
            before["text"] += output.text
        else:
            joined.append(output)
    return joined


def main() -> None:
    """Run the notebooks that the command line names, or all of them."""
    try:
        import nbformat
    except ImportError:
        sys.exit('this needs nbclient: pip install "pytensor-updates[notebooks]"')
    named = [Path(argument) for argument in sys.argv[1:]]
    for path in named or sorted(FOLDER.glob("*.ipynb")):
        start = perf_counter()
        nbformat.write(executed(path.resolve()), path)
        print(f"{path.name}: {perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()

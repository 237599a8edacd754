"""A tutorial as a Jupyter notebook: its cells as JSON.

Source: https://nbformat.readthedocs.io/en/latest/format_description.html, version 4.5.
"""

import json


def notebook(cells):
    """The text of a notebook, an .ipynb file, with these cells and no outputs; the same cells give the same text.

    >>> from .cells import Cell
    >>> made = json.loads(notebook([Cell("text", "# One", 2), Cell("code", "x = 1\\nx", 5)]))
    >>> made["nbformat"], [cell["cell_type"] for cell in made["cells"]], made["cells"][1]["source"]
    (4, ['markdown', 'code'], ['x = 1\\n', 'x'])
    """
    made = {
        "cells": [as_json(cell, f"cell-{k:02d}") for k, cell in enumerate(cells, 1)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def as_json(cell, identity):
    """One cell; its source is a list of lines that end with \\n, the last one without."""
    kind = {"text": "markdown", "code": "code"}[cell.kind]
    made = {"cell_type": kind, "id": identity, "metadata": {}, "source": cell.source.splitlines(keepends=True)}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})

"""The notebook: what is committed is what it says, and it runs from clean."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path("notebooks/landmark.ipynb")
LARGEST = 600_000
"""Bytes of the notebook with all its pictures."""


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell) -> set[str]:
    """What a cell shows: text, pictures, values."""
    return {kind for shown in cell.outputs for kind in (shown.get("data") or [shown.get("name")])}


def test_the_committed_notebook_was_run_in_order_and_is_small(notebook):
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [shown for cell in code(notebook) for shown in cell.outputs]
    assert sum("image/jpeg" in shown.get("data", {}) for shown in outputs) >= 10
    assert not any(shown.output_type == "error" or shown.get("name") == "stderr" for shown in outputs)
    assert NOTEBOOK.stat().st_size < LARGEST


def test_it_runs_from_clean_and_shows_the_same_kinds_of_things(notebook, released, tmp_path):
    """Some 40 seconds: it parses a dozen pictures and takes a step of training."""
    if not Path("data/test").is_dir():
        pytest.skip("the starter faces are not here; fetch them with: dvc pull data.dvc")
    for name in ("data", "weights", "params.yaml"):
        (tmp_path / name).symlink_to(Path(name).absolute())
    (tmp_path / NOTEBOOK.parent).mkdir()
    fresh = nbformat.from_dict(notebook)
    for cell in code(fresh):
        cell.outputs, cell.execution_count = [], None
    NotebookClient(fresh, timeout=600, resources={"metadata": {"path": tmp_path / NOTEBOOK.parent}}).execute()
    committed = nbformat.read(NOTEBOOK, as_version=4)
    for now, then in zip(code(fresh), code(committed), strict=True):
        assert kinds(now) - {"stderr"} == kinds(then)

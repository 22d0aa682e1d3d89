"""The notebook: its committed outputs are complete, and it runs from a clean state."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path("notebooks/landmark.ipynb")
MAX_BYTES = 600_000
"""Of the notebook with all its images."""


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def code(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell) -> set[str]:
    """The MIME types and stream names of a cell's outputs."""
    return {kind for output in cell.outputs for kind in (output.get("data") or [output.get("name")])}


def test_the_committed_notebook_was_run_in_order_and_is_small(notebook):
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    outputs = [output for cell in code(notebook) for output in cell.outputs]
    assert sum("image/jpeg" in output.get("data", {}) for output in outputs) >= 10
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
    assert NOTEBOOK.stat().st_size < MAX_BYTES


@pytest.mark.slow
def test_it_runs_from_a_clean_state_with_the_same_kinds_of_outputs(notebook, released, tmp_path):
    """It parses a dozen images and takes one step of training."""
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

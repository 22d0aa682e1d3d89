"""dvc.yaml: the deps of each stage are the code that its result depends on, and no other."""

import ast
from pathlib import Path

import grimp
import pytest
import yaml

from facemark.mlops.registry import ENTRY
from facemark.serving.archive import HANDLER, imported_files
from facemark.settings import PACKAGE

STAGES = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
WITHOUT_EFFECT = {"__init__.py", "errors.py", "settings.py", "mlops/registry.py", "mlops/tracking.py"}
"""Imported files that change no result: version and public names, error classes, the schema of params.yaml (DVC
compares the values), and MLflow, which mirrors the results."""
PACKED = {"evaluate": (ENTRY, HANDLER), "archive": (HANDLER,)}
"""The files that a stage packs into its result, together with all code that they import."""

PACKING = PACKAGE / "serving/archive.py"


def deps(stage: str) -> list[Path]:
    """The absolute paths of a stage's deps."""
    definition = STAGES[stage].get("do", STAGES[stage])
    return [Path(dep).resolve() for dep in definition["deps"] if not dep.startswith("${")]


def covers(dep: Path, file: Path) -> bool:
    return dep in (file, *file.parents)


def runs(stage: str) -> set[Path]:
    """The files of the package that a stage runs.

    Two sets of imports are not followed: those of the package's ``__init__``, which run when a public name is first
    used, and those of ``mlops``.
    """
    graph = grimp.build_graph("facemark", cache_dir=None)
    for importer in [name for name in graph.modules if name == "facemark" or name.startswith("facemark.mlops")]:
        for imported in graph.find_modules_directly_imported_by(importer):
            graph.remove_import(importer=importer, imported=imported)
    start = f"facemark.stages.{stage}"
    bases = [PACKAGE.parent.joinpath(*name.split(".")) for name in (start, *graph.find_upstream_modules(start))]
    return {base / "__init__.py" if base.is_dir() else base.with_suffix(".py") for base in bases}


def packs(stage: str) -> set[Path]:
    """The files that a stage packs, and the code that packs them; without files that hold only a docstring."""
    files = {file for start in PACKED.get(stage, ()) for file in (start.resolve(), PACKING, *imported_files(start))}
    return {file for file in files if len(ast.parse(file.read_text()).body) > 1}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_all_code_that_can_change_its_result(stage):
    needed = runs(stage) - {PACKAGE / name for name in WITHOUT_EFFECT} | packs(stage)
    assert PACKAGE / "labels.py" in needed
    assert not {str(file) for file in needed if not any(covers(dep, file) for dep in deps(stage))}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_no_other_code(stage):
    used = runs(stage) | packs(stage)
    code = [dep for dep in deps(stage) if dep.is_relative_to(PACKAGE)]
    assert not [str(dep) for dep in code if not any(covers(dep, file) for file in used)]


def test_no_stage_depends_on_the_command_line_the_page_or_the_documents():
    for stage in STAGES:
        for name in ("cli", "demo", "batch.py", "datatools"):
            assert not any(covers(dep, PACKAGE / name / "module.py") for dep in deps(stage))
        assert not any(covers(dep, Path(name).resolve()) for dep in deps(stage) for name in ("docs", "README.md"))

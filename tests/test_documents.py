"""The examples of the documents run as printed, and their links, pictures and sentences are in order."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import documents
import numpy as np
import pytest

EXAMPLES = [
    *documents.examples("README.md", "Landmarks on a photograph"),
    *documents.examples("docs/landmarks.md", "The order of the points"),
    *documents.examples("docs/migration.md"),
]
FIRST_COMMAND = "facemark predict data/test/images/00000.jpg"
PAGES = [*sorted(Path("docs").rglob("*.md")), *map(Path, ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]


@pytest.fixture(scope="module")
def project(tmp_path_factory, released):
    """A folder that looks like a clone: the released weights, and a few starter faces."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "weights").symlink_to(released.absolute())
    (folder / "data/test/images").mkdir(parents=True)
    photos = sorted(Path("data/test/images").glob("*.jpg"))[:2]
    if not photos:
        pytest.skip("the starter faces are not here; fetch them with: dvc pull data.dvc")
    for photo in photos:
        shutil.copy(photo, folder / "data/test/images")
    return folder


@pytest.fixture(scope="module")
def results(project):
    """What each example printed and its traceback; the last one is the command of the README's first screen."""
    return documents.run_together([*EXAMPLES, ("bash", FIRST_COMMAND)], project)


@pytest.mark.parametrize("index", range(len(EXAMPLES)))
def test_examples_run_as_printed(results, index):
    _, failure = results[index]
    assert not failure, f"{EXAMPLES[index][1]}\n{failure}"


def test_the_examples_write_what_they_name(results, project):
    code = "".join(code for _, code in EXAMPLES)
    for name in ("numbered.png", "faces.csv", "points/00000.pts", "drawn/00000.jpg", "masks/00000.png"):
        assert f" {Path(name).parts[0]} " in code.replace("\n", " ")
        assert (project / name).stat().st_size > 0


def test_the_first_screen_of_the_readme_shows_what_its_command_prints(results):
    readme = Path("README.md").read_text()
    shown = re.search(r"^```\n(data/test/images.*)\n```", readme, re.MULTILINE)[1]
    printed, failure = results[-1]
    assert FIRST_COMMAND in readme.splitlines() and not failure
    *words, score = printed.split()
    *shown_words, shown_score = shown.split()
    assert words == shown_words
    assert float(score) == pytest.approx(float(shown_score), abs=0.015)  # bfloat16 differs from fp32 by less


def test_the_table_from_mediapipe_names_68_different_vertices():
    (code,) = (code for _, code in documents.examples("docs/migration.md", "MediaPipe"))
    found: dict = {}
    exec(code, found)
    assert len(set(found["MEDIAPIPE"].tolist())) == 68
    assert np.max(found["MEDIAPIPE"]) < 468


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_pages_outside_the_site_resolve(page):
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", Path(page).read_text())
    missing = [link for link in links if "://" not in link and not Path(link).exists()]
    assert links and not missing


def test_paths_named_in_the_documents_exist():
    pattern = r"`((?:src|tests|docs|serve|benchmarks|experiments)/[\w./-]+\.\w+|params\.yaml|dvc\.yaml)`"
    named = {(str(page), path) for page in PAGES for path in re.findall(pattern, page.read_text())}
    missing = sorted((page, path) for page, path in named if "NAME" not in path and not Path(path).exists())
    assert len(named) > 20 and not missing


@pytest.mark.slow
def test_the_site_builds_strictly_and_loads_nothing_from_the_network(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    loaded = r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//|<link[^>]+rel="stylesheet"[^>]+href="(?:https?:)?//'
    assert not [page.name for page in pages if re.search(loaded, page.read_text())]
    assert (tmp_path / "site/api/inference.html").read_text().count("InferenceConfig") > 1

import shutil
from pathlib import Path

import documents
import numpy as np
import pytest

EXAMPLES = [
    *documents.examples("README.md", "Landmarks on a photograph"),
    *documents.examples("docs/landmarks.md", "The order of the points"),
    *documents.examples("docs/migration.md"),
]


@pytest.fixture
def clone(tmp_path, released):
    """A folder that looks like a clone: the released weights, and a few starter faces."""
    (tmp_path / "weights").symlink_to(released.absolute())
    (tmp_path / "data/test/images").mkdir(parents=True)
    photos = sorted(Path("data/test/images").glob("*.jpg"))[:2]
    if not photos:
        pytest.skip("the starter faces are not here; fetch them with: dvc pull data.dvc")
    for photo in photos:
        shutil.copy(photo, tmp_path / "data/test/images")
    return tmp_path


@pytest.mark.parametrize(("language", "code"), EXAMPLES, ids=[str(i) for i in range(len(EXAMPLES))])
def test_examples_run_as_printed(clone, language, code):
    done = documents.run(language, code, clone)
    assert done.returncode == 0, done.stderr
    for made in ("drawn.png", "numbered.png", "faces.csv", "points/00000.pts"):
        assert made not in code or (clone / made).stat().st_size > 0


def test_the_table_from_mediapipe_names_68_different_vertices():
    (code,) = (code for _, code in documents.examples("docs/migration.md", "MediaPipe"))
    found: dict = {}
    exec(code, found)
    assert len(set(found["MEDIAPIPE"].tolist())) == 68
    assert np.max(found["MEDIAPIPE"]) < 468

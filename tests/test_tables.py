import os
from pathlib import Path

import pyarrow as pa
import pytest
from collection import read_table, s3_server, write_images
from pyarrow import fs

from facemark.io.tables import RESULTS, Tables, list_images, open_location


@pytest.fixture
def s3(monkeypatch):
    with s3_server(monkeypatch) as location:
        yield location


def results(*paths: str) -> pa.Table:
    """Results of a worker; every second one is an error."""
    error = {"type": "E", "message": "m"}
    rows = [{"path": path, "model": "a model"} | (error if i % 2 else {}) for i, path in enumerate(paths)]
    return pa.Table.from_pylist(rows, RESULTS)


@pytest.mark.parametrize("store", ["folder", "s3"])
def test_tables_continue_and_refuse_another_model(store, request, tmp_path):
    location = f"{request.getfixturevalue('s3')}/out" if store == "s3" else str(tmp_path / "out")
    first = Tables(location, "a model")
    assert (first.done, first.errors) == (set(), 0)
    first.write([results("a", "b"), results("c")])
    assert first.errors == 1
    assert read_table(location, "rows")["path"].to_pylist() == ["a", "c"]
    errors = read_table(location, "errors").to_pylist()
    assert errors == [{"path": "b", "model": "a model", "type": "E", "message": "m"}]
    with first.files.open_output_stream(f"{first.path}/rows/.partial.parquet") as file:
        file.write(b"PAR1")
    second = Tables(location, "a model")
    assert (second.done, second.errors) == ({"a", "b", "c"}, 1)
    names = [each.base_name for each in second.files.get_file_info(fs.FileSelector(f"{first.path}/rows"))]
    assert len(names) == 1 and not names[0].startswith(".")
    with pytest.raises(ValueError, match="rows of another model"):
        Tables(location, "another")


def test_hidden_files_are_skipped_and_a_name_that_is_not_utf8_is_an_error(tmp_path):
    (tmp_path / ".trash").mkdir()
    for name in ("b.PNG", "a.jpg", "._a.jpg", ".trash/b.jpg", "notes.txt"):
        (tmp_path / name).touch()
    files, root, _ = open_location(str(tmp_path))
    assert list_images(files, root) == [f"{root}/a.jpg", f"{root}/b.PNG"]
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.jpg")).touch()
    with pytest.raises(ValueError, match="not UTF-8; rename it"):
        list_images(files, root)


@pytest.mark.parametrize("prefix", ["my folder/é", "a%20b", "#1"])
def test_an_s3_prefix_may_contain_reserved_characters(s3, prefix):
    write_images(f"{s3}/{prefix}", 1)
    files, root, name_prefix = open_location(f"{s3}/{prefix}")
    assert list_images(files, root) == [f"{root}/000.jpg"]
    assert root.endswith(prefix.replace("%20", " "))
    assert name_prefix == "s3://"

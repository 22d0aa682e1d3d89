"""Restricted writes, in a process of its own: they cannot be undone."""

import subprocess
import sys

import pytest

RESTRICT_AND_WRITE = """
import subprocess, sys, threading
from pathlib import Path
from facemark.serving.sandbox import restrict_writes

folder, file, *attempts = map(Path, sys.argv[1:])
if not restrict_writes(folder, [file]):
    print("no Landlock")
    sys.exit()

def report(name, change):
    try:
        change()
    except OSError as error:
        print(name, error.strerror)
    else:
        print(name, "done")

report("new in folder", lambda: (folder / "new").write_text("x"))
report("listed file", lambda: file.write_text("x"))
for path in attempts:
    report("new elsewhere", lambda: (path / "new").write_text("x"))
    report("change elsewhere", lambda: (path / "old").write_text("x"))
    report("remove elsewhere", lambda: (path / "old").unlink())
    report("read elsewhere", lambda: (path / "old").read_text())
    child = subprocess.run([sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", path / "old"])
    print("change by a child", child.returncode)
"""


def test_only_the_folder_and_the_listed_files_can_be_changed(tmp_path):
    folder, outside = tmp_path / "inside", tmp_path / "outside"
    for each in (folder, outside):
        each.mkdir()
    for name in ("listed", "old"):
        (outside / name).write_text("kept")
    command = [sys.executable, "-c", RESTRICT_AND_WRITE, str(folder), str(outside / "listed"), str(outside)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stdout == "no Landlock\n":
        pytest.skip("this system has no Landlock")
    assert done.stdout.splitlines() == [
        "new in folder done",
        "listed file done",
        "new elsewhere Permission denied",
        "change elsewhere Permission denied",
        "remove elsewhere Permission denied",
        "read elsewhere done",
        "change by a child 1",
    ], done.stderr
    assert {file.name: file.read_text() for file in outside.iterdir()} == {"listed": "x", "old": "kept"}


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    program = "import sys; from facemark.serving.sandbox import restrict_writes; print(restrict_writes(sys.argv[1]))"
    command = [sys.executable, "-c", program, str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.stdout == "False\n":
        pytest.skip("this system has no Landlock")
    assert "FileNotFoundError" in done.stderr

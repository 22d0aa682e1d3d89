"""docs/mlops.md, run command by command in a tiny clone. It takes some ten minutes, so ``make soak`` runs it."""

import json
import re

import documents
import mlflow
import pytest
from clone import TINY
from conftest import free_port

from facemark.mlops import registry

PAGE = "docs/mlops.md"
DRAW = "from facemark.data import synthetic; synthetic.write('more-faces', {'train': 4, 'val': 1, 'test': 1}, 7)"
SKIPPED = ("mlflow server", "s3://")
"""Code blocks with these need a server that does not end; test_promote.py and test_dvc.py start such servers."""
GENEROUS = dict.fromkeys(("mean_f1", "robustness", "recall", "nme"), 1000)
"""Rules of promotion that every model passes; the tiny ones hardly learn anything."""


def replaced(port: int) -> dict[str, str]:
    """Lines of the page, and what is run instead: the test stops its server, and draws fewer faces."""
    serve = f"facemark serve build/champion.mar --port {port}"
    return {
        "python -m facemark.data.synthetic more-faces --seed 7": f'python -c "{DRAW}"',
        "make mlflow": "",
        "make champion    # facemark archive champion && facemark serve build/champion.mar": (
            f"facemark archive champion && {serve}"
        ),
        "facemark stop && facemark serve build/champion.mar": f"facemark stop && {serve}",
    }


@pytest.fixture
def stopped(clone):
    """The clone; its server is stopped after the test."""
    yield clone
    clone.run("facemark", "stop")


@pytest.mark.soak
def test_a_day_of_work_as_printed(stopped):
    clone, lines, served = stopped, replaced(free_port()), []
    clone.change({"promote": TINY["promote"] | GENEROUS})
    clone.run("git", "commit", "--quiet", "--all", "--message", "Be generous")
    for language, code in documents.examples(PAGE):
        if any(word in code for word in SKIPPED):
            continue
        for line in lines.keys() & set(code.splitlines()):
            code = code.replace(line, lines.pop(line))
        done = documents.run(language, code, clone.folder, **clone.environment)
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        if curl := re.search(r"^curl .*$", done.stdout, re.MULTILINE):
            response = json.loads(clone.run("bash", "-c", f"{curl[0]} --silent --show-error"))
            champion = registry.find("champion")
            pipeline = mlflow.get_run(mlflow.get_run(champion.run_id).data.tags["mlflow.parentRunId"])
            assert response["model"]["revision"].removesuffix("-dirty") == pipeline.data.tags["git.commit"]
            served.append(champion.version)
    assert not lines, f"{PAGE} does not have these lines"
    assert list(map(int, served)) == [2, 1]

"""DVC stage ``archive``: one file that TorchServe serves without this repository."""

import facemark
from facemark.mlops import registry, tracking
from facemark.models.bundle import ModelBundle
from facemark.serving.archive import pack_archive
from facemark.settings import ARCHIVE, BUILT, load_params

if __name__ == "__main__":
    params = load_params()
    with tracking.stage("archive", params.of_stages()) as runs:
        assert runs is not None  # only a distributed training has processes without runs
        identity = tracking.identity(params.archive.version or facemark.__version__)
        pack_archive(identity, ModelBundle.open(BUILT), ARCHIVE)
        tracking.tag(runs, {"archive.md5": registry.md5(ARCHIVE)})

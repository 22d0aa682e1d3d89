"""Collections of images in a folder or on S3, for tests of ``facemark batch`` and its tables."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.server import ThreadedMotoServer
from PIL import Image
from pyarrow import fs

from facemark.io.tables import open_location


@contextmanager
def s3_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server on loopback with an empty bucket; yields the bucket's address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    fs.FileSystem.from_uri("s3://bucket?allow_bucket_creation=true")[0].create_dir("bucket")
    yield "s3://bucket"
    server.stop()


def write_images(location: str, count: int) -> list[str]:
    """Write small images, one of ten truncated, into two folders; returns their names."""
    files, root, _ = open_location(location)
    files.create_dir(f"{root}/more", recursive=True)
    names = [f"{'more/' if i % 3 else ''}{i:03}.jpg" for i in range(count)]
    for i, name in enumerate(names):
        with files.open_output_stream(f"{root}/{name}") as file:
            if i % 10 == 3:
                file.write(b"\xff\xd8 no more")
            else:
                Image.fromarray(np.full((40, 30 + i, 3), i, np.uint8)).save(file, "JPEG")
    with files.open_output_stream(f"{root}/notes.txt") as file:
        file.write(b"no picture")
    return names


def read_table(location: str, name: str) -> pa.Table:
    """Read the table ``rows`` or ``errors``."""
    files, root, _ = open_location(location)
    return pq.read_table(f"{root}/{name}", filesystem=files)

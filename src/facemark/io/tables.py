"""Parquet tables of large collections, in a folder or on S3: one row for each image, or one for its error."""

import os
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs

from facemark import images

FACE = pa.struct(
    [
        ("box", pa.list_(pa.float32())),
        ("score", pa.float32()),
        ("points", pa.list_(pa.list_(pa.float32()))),
        ("scores", pa.list_(pa.float32())),
    ]
)
ROWS = pa.schema(
    [
        ("path", pa.string()),
        ("model", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("faces", pa.list_(FACE)),
        ("mask", pa.map_(pa.string(), pa.list_(pa.int32()))),
    ]
)
"""One row for each parsed image. Size and faces are those of the endpoint's response; the mask is the run lengths of
each class, see :func:`facemark.io.response.encode_rle`."""
ERRORS = pa.schema([("path", pa.string()), ("model", pa.string()), ("type", pa.string()), ("message", pa.string())])
"""One row for each image that could not be parsed."""
RESULTS = pa.unify_schemas([ROWS, ERRORS])
"""What workers return: rows of both tables; columns of the other table are null."""


def open_location(location: str) -> tuple[fs.FileSystem, str, str]:
    """Open a folder or ``s3://bucket/prefix``.

    Returns:
        The file system, the path in it, and the prefix that turns such a path into a name for the tables.

    Raises:
        ValueError: the location is of another kind.
    """
    if "://" not in location:
        return fs.LocalFileSystem(), os.path.normpath(Path(location).absolute()), ""
    try:
        files, path = fs.FileSystem.from_uri(quote(location, safe=":/?&=%@"))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{location} is not a folder or s3://bucket/prefix") from error
    return files, path, f"{location.split('://')[0]}://"


def list_images(files: fs.FileSystem, root: str) -> list[str]:
    """The sorted paths of all images under a folder, by suffix and without hidden ones.

    Raises:
        ValueError: there are none, or a name is not UTF-8.
        OSError: the folder does not exist.
    """
    try:
        found = files.get_file_info(fs.FileSelector(root, recursive=True))
        visible = [each for each in found if each.is_file and "/." not in each.path.removeprefix(root)]
        paths = sorted(each.path for each in visible if f".{each.extension.lower()}" in images.SUFFIXES)
    except UnicodeDecodeError as error:
        raise ValueError(f"{error.object.decode(errors='replace')} has a name that is not UTF-8; rename it") from error
    if not paths:
        kinds = ", ".join(sorted(suffix[1:] for suffix in images.SUFFIXES))
        raise ValueError(f"{root} has no pictures; it may have {kinds} files")
    return paths


class Tables:
    """The tables under one DST."""

    def __init__(self, location: str, model: str):
        """Open or create the tables, and delete files that an interrupted run left incomplete.

        Raises:
            ValueError: the tables hold rows of another model.
            OSError: the location is not writable.
        """
        self.files, self.path, _ = open_location(location)
        contents = []
        for name, schema in (("rows", ROWS), ("errors", ERRORS)):
            folder = f"{self.path}/{name}"
            self.files.create_dir(folder, recursive=True)
            for each in self.files.get_file_info(fs.FileSelector(folder)):
                if each.is_file and each.base_name.startswith("."):
                    self.files.delete_file(each.path)
            table = ds.dataset(folder, schema, "parquet", self.files)
            contents.append(table.to_table(columns=["path", "model"]))
        rows = pa.concat_tables(contents)
        if set(pc.unique(rows["model"]).to_pylist()) - {model}:
            raise ValueError(f"{location} holds rows of another model; name another folder, or delete those")
        self.done, self.errors = set(rows["path"].to_pylist()), len(contents[1])

    def write(self, results: list[pa.Table]) -> None:
        """Write tables of the schema RESULTS."""
        table = pa.concat_tables(results)
        failed = pc.is_valid(table["type"])
        errors = table.filter(failed).select(ERRORS.names)
        self._write_file("rows", table.filter(pc.invert(failed)).select(ROWS.names))
        self._write_file("errors", errors)
        self.errors += len(errors)

    def _write_file(self, name: str, table: pa.Table) -> None:
        if len(table):
            file = f"{uuid4().hex}.parquet"
            partial = f"{self.path}/{name}/.{file}"  # readers of Parquet folders skip hidden files
            pq.write_table(table, partial, compression="zstd", filesystem=self.files)
            self.files.move(partial, f"{self.path}/{name}/{file}")

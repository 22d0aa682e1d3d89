"""``python -m facemark.data.synthetic FOLDER`` draws the starter data."""

from pathlib import Path

import typer

from facemark.data.synthetic import write

COUNTS = {"train": 480, "val": 60, "test": 60}
"""Images in each split."""


def main(folder: Path, seed: int = 0) -> None:
    """Draw the starter data into a folder."""
    write(folder, COUNTS, seed)


if __name__ == "__main__":
    typer.run(main)

"""DVC stage ``prepare``: check a dataset, split it, index it. ``python -m facemark.stages.prepare NAME``."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import mlflow
import numpy as np

from facemark.data.copies import downscale_large, write_corrected_points
from facemark.data.samples import SPLITS
from facemark.data.splits import assign_splits, count_pixels, shown_classes, split_statistics, write_index
from facemark.data.validation import validate_dataset
from facemark.labels import CLASSES
from facemark.mlops import tracking
from facemark.settings import PREPARED, Prepare, load_params


def prepare(name: str, settings: Prepare, out: Path) -> None:
    """Check, split and index the dataset ``name``; what has another form is converted into ``out``/converted.

    Training points that fit no face are moved to where the rest of their face has them, if it has enough others, and
    listed, with those of other splits, in ``out``/outliers.csv: :mod:`facemark.data.outliers`. Large training pictures are
    replaced by smaller copies in ``out``/smaller.

    Raises:
        SystemExit: samples are not sound and ``bad_samples`` is ``refuse``, every one is named with its faults; or
            most are odd in the same way, so that classes or points are not what they are taken for; or there are none.
    """
    found = validate_dataset(settings.datasets[name], out / "converted")
    for image, why in found.bad:
        print(f"{image}: {why}", file=sys.stderr)
    if refusals := found.refusals(settings.bad_samples):
        raise SystemExit("\n".join(refusals))
    good = assign_splits(found.sound, settings.splits, settings.seed)
    good = write_corrected_points(good, found.outliers, out / "corrected")
    good = downscale_large(good, out / "smaller")
    counts = np.array([count_pixels(s) for s in good]).reshape(-1, len(CLASSES))
    shown = [shown_classes(each) for each in counts]
    out.mkdir(parents=True, exist_ok=True)
    write_index(out / "index.csv", [replace(s, classes=names) for s, names in zip(good, shown, strict=True)])
    (out / "statistics.json").write_text(json.dumps(split_statistics([s.split for s in good], counts), indent=1))
    with (out / "set_aside.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "faults"], *found.bad])
    with (out / "outliers.csv").open("w", newline="") as file:
        rows = [(m.sample.points, face + 1, point) for m in found.outliers for face, point in np.argwhere(m.which)]
        csv.writer(file).writerows([["points", "face", "point"], *rows])
    sizes = ", ".join(f"{sum(s.split == each for s in good)} {each}" for each in SPLITS)
    print(f"{name}: {sizes}, {len(found.bad)} set aside, {len(rows)} points that fit no face")


if __name__ == "__main__":
    name, params = sys.argv[1], load_params()
    with tracking.stage(f"prepare@{name}", params.of_stages()):
        prepare(name, params.prepare, PREPARED / name)
        for file in ("statistics.json", "set_aside.csv", "outliers.csv"):
            mlflow.log_artifact(PREPARED / name / file)

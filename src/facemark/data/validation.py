"""Whether a dataset is what its format says: all of its samples, and what most of them have in common."""

import importlib
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from facemark.data.anomalies import Anomaly, Labels, label_anomalies
from facemark.data.outliers import Outliers, find_outliers
from facemark.data.sample_checks import validate_sample
from facemark.data.samples import Published, Sample, read_mask, read_points
from facemark.images import SUFFIXES
from facemark.labels import CLASSES
from facemark.settings import Dataset

MAX_ANOMALY_SHARE = 0.2
"""A dataset is refused where odd masks outnumber the others by more than this share of all images."""


@dataclass(frozen=True)
class ValidationReport:
    """What there is to say of a dataset before it is used."""

    dataset: Dataset
    sound: list[Sample]
    bad: list[tuple[Path, str]]
    """Images that are not sound, each with its faults."""
    anomalies: list[Anomaly]
    """What is odd about most of it."""
    outliers: list[Outliers]
    """Of the sound samples."""

    def refusals(self, bad_samples: str) -> list[str]:
        """Sentences that say why ``prepare`` refuses it; none where it does not."""
        found = []
        for remedy in dict.fromkeys(anomaly.remedy for anomaly in self.anomalies):
            phrases = ", ".join(anomaly.phrase for anomaly in self.anomalies if anomaly.remedy == remedy)
            found.append(f"{self.dataset.path}, read as {self.dataset.format}: {phrases}; {remedy}")
        if self.bad and bad_samples == "refuse":
            found.append(
                f"{len(self.bad)} of {len(self.bad) + len(self.sound)} samples of {self.dataset.path} are not sound "
                "(listed above); correct them, or leave them out with prepare.bad_samples: set_aside"
            )
        return found


def list_samples(dataset: Dataset) -> list[Sample | Published]:
    """List the images of a dataset.

    Raises:
        SystemExit: they are not where its format has them, or the files that list them are not its.
    """
    module = importlib.import_module(f"facemark.data.formats.{dataset.format}")
    try:
        return module.samples(dataset.path, dataset.classes) if dataset.classes else module.samples(dataset.path)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


def validate_dataset(dataset: Dataset, converted: Path, only: str | None = None) -> ValidationReport:
    """Check every sample of a dataset; what has another form is converted into the folder ``converted``.

    Args:
        dataset: where it is and what it is.
        converted: need not exist yet.
        only: a split; images of it and of none are checked.

    Raises:
        SystemExit: see :func:`list_samples`.
    """
    listed = [each for each in list_samples(dataset) if only is None or each.split in (only, None)]
    known = tuple(dataset.classes.values()) if dataset.classes else CLASSES
    shared = _shared_names(each.image for each in listed)
    sound, bad = [], []
    votes: Counter[Anomaly] = Counter()
    for number, each in enumerate(track(listed, f"checking {dataset.path}")):
        try:
            sample = each.convert(converted / f"{number:06}") if isinstance(each, Published) else each
        except ValueError as error:
            faults = [str(error)]
        else:
            faults = validate_sample(sample)
            with suppress(ValueError):  # what cannot be read is among the faults
                votes.update(_votes(sample, known))
        if each.image.with_suffix("") in shared:
            faults.append("another picture beside it has its name, and so its mask or points; rename one of them")
        if faults:
            bad.append((each.image, "; ".join(faults)))
        else:
            sound.append(sample)
    anomalies = [anomaly for anomaly, count in votes.items() if count > MAX_ANOMALY_SHARE * len(listed)]
    return ValidationReport(dataset, sound, bad, anomalies, find_outliers(sound))


def _shared_names(images: Iterable[Path]) -> set[Path]:
    """Paths without suffix that several images have."""
    names = Counter(image.with_suffix("") for image in set(images) if image.suffix.lower() in SUFFIXES)
    return {name for name, count in names.items() if count > 1}


def _votes(sample: Sample, known: tuple[str, ...]) -> dict[Anomaly, float]:
    if sample.mask is None:
        return {}
    points = read_points(sample.points) if sample.points else None
    return label_anomalies(Labels(read_mask(sample.mask), points, known))

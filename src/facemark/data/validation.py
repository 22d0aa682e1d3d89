"""Whether a dataset is what its format says: its samples one by one, and what most of them have in common."""

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
"""A dataset is refused where images with an anomaly outnumber those without by more than this share of all images."""
SHARED_NAME = "another picture in its folder has the same name, and so the same mask or points; rename one of them"


@dataclass(frozen=True)
class ValidationReport:
    """What the checks of a dataset have found."""

    dataset: Dataset
    sound: list[Sample]
    bad: list[tuple[Path, str]]
    """Images that are not sound, each with its problems in one line."""
    anomalies: list[Anomaly]
    """What is odd about the dataset as a whole."""
    outliers: list[Outliers]
    """The outliers of each sound sample that has some."""

    def refusals(self, bad_samples: str) -> list[str]:
        """Return sentences that say why ``prepare`` refuses the dataset; none where it does not.

        Args:
            bad_samples: ``refuse`` or ``set_aside``, as in ``params.yaml``.
        """
        refusals = []
        for remedy in dict.fromkeys(anomaly.remedy for anomaly in self.anomalies):
            phrases = ", ".join(anomaly.phrase for anomaly in self.anomalies if anomaly.remedy == remedy)
            refusals.append(f"{self.dataset.path}, read as {self.dataset.format}: {phrases}; {remedy}")
        if self.bad and bad_samples == "refuse":
            refusals.append(
                f"{len(self.bad)} of {len(self.bad) + len(self.sound)} samples of {self.dataset.path} are not sound "
                "(listed above); correct them, or leave them out with prepare.bad_samples: set_aside"
            )
        return refusals


def list_samples(dataset: Dataset) -> list[Sample | Published]:
    """List the images of a dataset.

    Raises:
        SystemExit: the dataset has no images where its format has them, or its lists cannot be read.
    """
    module = importlib.import_module(f"facemark.data.formats.{dataset.format}")
    try:
        return module.samples(dataset.path, dataset.classes) if dataset.classes else module.samples(dataset.path)
    except (OSError, ValueError) as error:
        raise SystemExit(str(error)) from error


def validate_dataset(dataset: Dataset, converted: Path, only: str | None = None) -> ValidationReport:
    """Check every sample of a dataset, and convert those that are in a form of their own.

    Args:
        dataset: its folder and format.
        converted: folder for converted masks and points; created when needed.
        only: a split; None checks all. Images without a split are always checked.

    Raises:
        SystemExit: see :func:`list_samples`.
    """
    listed = [each for each in list_samples(dataset) if only is None or each.split in (only, None)]
    known = tuple(dataset.classes.values()) if dataset.classes else CLASSES
    shared_names = _shared_names(each.image for each in listed)
    sound: list[Sample] = []
    bad: list[tuple[Path, str]] = []
    votes: Counter[Anomaly] = Counter()
    for number, each in enumerate(track(listed, f"checking {dataset.path}")):
        sample, problems = _check(each, converted / f"{number:06}")
        if sample:
            with suppress(ValueError):  # files that cannot be read are among the problems
                votes.update(_votes(sample, known))
        if each.image.with_suffix("") in shared_names:
            problems.append(SHARED_NAME)
        if sample and not problems:
            sound.append(sample)
        else:
            bad.append((each.image, "; ".join(problems)))
    return ValidationReport(dataset, sound, bad, _prevalent(votes, len(listed)), find_outliers(sound))


def _check(listed: Sample | Published, stem: Path) -> tuple[Sample | None, list[str]]:
    """The sample, converted where needed, and its problems; None where it cannot be converted."""
    try:
        sample = listed.convert(stem) if isinstance(listed, Published) else listed
    except ValueError as error:
        return None, [str(error)]
    return sample, validate_sample(sample)


def _prevalent(votes: Counter[Anomaly], count: int) -> list[Anomaly]:
    """The anomalies that a dataset of ``count`` images is refused for."""
    return [anomaly for anomaly, total in votes.items() if total > MAX_ANOMALY_SHARE * count]


def _shared_names(images: Iterable[Path]) -> set[Path]:
    """Paths without suffix that several images have."""
    names = Counter(image.with_suffix("") for image in set(images) if image.suffix.lower() in SUFFIXES)
    return {name for name, count in names.items() if count > 1}


def _votes(sample: Sample, known: tuple[str, ...]) -> dict[Anomaly, float]:
    """The votes of a sample's labels; a sample without a mask has none."""
    if sample.mask is None:
        return {}
    points = read_points(sample.points) if sample.points else None
    return label_anomalies(Labels(read_mask(sample.mask), points, known))

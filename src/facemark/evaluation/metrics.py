"""What the project measures itself by. All figures are percentages.

Parsing figures come from one confusion matrix over all pixels of all pictures, so a rare class is judged by its
pixels everywhere and not by the mean over the few pictures that show it.
"""

import warnings

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import mannwhitneyu

from facemark.labels import CLASSES, FACE_CORE, OUTER_EYE_CORNERS, POINT_GROUPS

FAILURE = 8.0
"""A face whose NME is above this many per cent, or that was not found, counts as a failure."""
SAME_FACE = 0.2
"""Boxes that overlap by at least this IoU are of the same face."""


def confusion(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count pixels into a 19 × 19 int64 matrix, rows: truth, columns: prediction; ignored pixels are left out.

    Args:
        predicted: class ids, any shape.
        truth: class ids, of the same shape; what is none (IGNORE, an id of UNIONS) is ignored.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the prediction is {predicted.shape}, the truth {truth.shape}; they must be of one shape")
    k = len(CLASSES)
    seen = truth < k
    return np.bincount(truth[seen].astype(np.int64) * k + predicted[seen], minlength=k * k).reshape(k, k)


def f1(confusion: np.ndarray) -> np.ndarray:
    """F1 (Dice) of each class, 19 values; NaN for a class that is neither in the truth nor predicted."""
    return _ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, 19 values; NaN for a class that is neither in the truth nor predicted."""
    return _ratio(np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion))


def mean_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the 18 classes without background, as published on CelebAMask-HQ.

    A class that the truth nowhere shows is left out: many datasets know fewer classes than the parser.
    """
    return _mean(_shown(f1(confusion), confusion)[1:])


def mean_f1_face(confusion: np.ndarray) -> float:
    """Mean F1 of those of the nine classes that carry the landmarks which the truth shows."""
    return _mean(_shown(f1(confusion), confusion)[list(FACE_CORE)])


def parsing(confusion: np.ndarray) -> dict:
    """All parsing figures: the means, pixel accuracy, and F1 and IoU by the names of the classes that occur."""

    def by_class(values: np.ndarray) -> dict[str, float]:
        return {name: float(v) for name, v in zip(CLASSES, values, strict=True) if np.isfinite(v)}

    return {
        "mean_f1": mean_f1(confusion),
        "mean_f1_face": mean_f1_face(confusion),
        "mean_iou": _mean(_shown(iou(confusion), confusion)),
        "pixel_accuracy": float(_ratio(np.trace(confusion), confusion.sum())),
        "f1": by_class(f1(confusion)),
        "iou": by_class(iou(confusion)),
    }


def point_errors(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance of each point (… × 68 × 2, pixels) from the truth, over that of the truth's outer eye corners."""
    right, left = (truth[..., i, :] for i in OUTER_EYE_CORNERS)
    size = np.linalg.norm(left - right, axis=-1)[..., None]
    return 100 * np.linalg.norm(points - truth, axis=-1) / size


def nme(points: np.ndarray, truth: np.ndarray) -> float:
    """Normalised mean error of one face's 68 × 2 points."""
    return float(point_errors(points, truth).mean())


def match(found: list[np.ndarray], truth: list[np.ndarray]) -> list[int | None]:
    """For each true face (68 × 2 points), which found one it is, or None where it was missed.

    Each found face is given away once, so that the IoU of the faces' boxes adds up to the most.
    """
    overlap = np.array([[_box_iou(t, f) for f in found] for t in truth]).reshape(len(truth), len(found))
    pairs = zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
    matched = {int(t): int(f) for t, f in pairs if overlap[t, f] >= SAME_FACE}
    return [matched.get(i) for i in range(len(truth))]


def ced(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Cumulative error distribution: the share of faces whose NME is at most each threshold; missed ones are inf."""
    return 100 * (np.asarray(errors)[None] <= np.asarray(thresholds)[:, None]).mean(1)


def fr8(errors: np.ndarray) -> float:
    """Failure rate: the share of faces whose NME is above 8 %; missed ones are inf."""
    return 100 * float((np.asarray(errors) > FAILURE).mean())


def auc8(errors: np.ndarray) -> float:
    """Area under the cumulative error distribution up to an NME of 8 %, the perfect one being 100."""
    return 100 * float(np.clip(1 - np.asarray(errors) / FAILURE, 0, None).mean())


def auroc(scores: np.ndarray, errors: np.ndarray) -> float:
    """How well scores tell errors above 8 %: of one above and one below, how often the one below scores higher.

    Area under the receiver operating characteristic, 50 for scores that tell nothing; NaN where all are of one kind.
    """
    bad = np.asarray(errors) > FAILURE
    if bad.all() or not bad.any():
        return np.nan
    right = mannwhitneyu(scores[~bad], scores[bad], method="asymptotic").statistic  # pairs, even ones count half
    return 100 * float(right) / (bad.sum() * (~bad).sum())


def landmarks(errors: np.ndarray, scores: np.ndarray) -> dict:
    """All landmark figures of faces × 68 errors as :func:`point_errors` answers them, and the points' scores.

    A missed face's errors are inf. NME, whole and by group of points, is that of the faces found, and so is ``auroc``
    of their points and of their means; ``fr8`` and ``auc8`` count the missed as failures.
    """
    there = np.isfinite(errors).all(1)
    found, sure = errors[there], scores[there]
    figures = {"faces": len(errors), "found": 100 * len(found) / len(errors)}
    if len(found):
        by_group = {name: float(found[:, points].mean()) for name, points in POINT_GROUPS.items()}
        ranked = {"points": auroc(sure.ravel(), found.ravel()), "faces": auroc(sure.mean(1), found.mean(1))}
        known = {name: figure for name, figure in ranked.items() if np.isfinite(figure)}
        figures |= {"nme": float(found.mean()), "nme_by_group": by_group, "auroc": known}
    return figures | {"fr8": fr8(errors.mean(1)), "auc8": auc8(errors.mean(1))}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return 100 * np.divide(part, whole)


def _shown(values: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """The values of the classes that the truth shows, NaN for the others."""
    return np.where(confusion.any(1), values, np.nan)


def _mean(values: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of nothing at all: NaN says so
        return float(np.nanmean(values))


def _box_iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a.min(0), b.min(0)), np.minimum(a.max(0), b.max(0))
    shared = np.clip(high - low, 0, None).prod()
    return float(shared / (np.ptp(a, 0).prod() + np.ptp(b, 0).prod() - shared + 1e-9))

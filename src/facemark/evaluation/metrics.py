"""The metrics of parsing and of landmarks. All figures are percentages.

Parsing figures come from one confusion matrix over all pixels of all images. A rare class is thus measured on all of
its pixels, not by a mean over the few images that show it.
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import roc_auc_score

from facemark.labels import CLASSES, FACE_CORE, OUTER_EYE_CORNERS, POINT_GROUPS

FAILURE_NME = 8.0
"""A face fails if its NME is above this many per cent, or if it was missed. So does a point by its own error."""
MIN_MATCH_IOU = 0.2
"""Smallest intersection over union of the boxes of a true and a predicted face that are the same face."""


def confusion(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Count pixels by true and predicted class.

    Args:
        predicted: class ids, any shape.
        truth: class ids, same shape. Pixels with any other id (IGNORE, UNIONS) are not counted.

    Returns:
        19 × 19 int64; rows: truth, columns: prediction.

    Raises:
        ValueError: the shapes differ.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"the prediction is {predicted.shape}, the truth {truth.shape}; they must have one shape")
    k = len(CLASSES)
    counted = truth < k
    return np.bincount(truth[counted].astype(np.int64) * k + predicted[counted], minlength=k * k).reshape(k, k)


def f1(confusion: np.ndarray) -> np.ndarray:
    """F1 (Dice) of each class, 19 values; NaN for a class that truth and prediction both lack."""
    return _ratio(2 * np.diag(confusion), confusion.sum(0) + confusion.sum(1))


def iou(confusion: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, 19 values; NaN for a class that truth and prediction both lack."""
    return _ratio(np.diag(confusion), confusion.sum(0) + confusion.sum(1) - np.diag(confusion))


def mean_f1(confusion: np.ndarray) -> float:
    """Mean F1 of the 18 classes without background, as reported on CelebAMask-HQ; NaN without any.

    Classes that the truth does not contain are left out, because many datasets have fewer classes than the parser.
    """
    return _mean(_present(f1(confusion), confusion)[1:])


def mean_f1_face(confusion: np.ndarray) -> float:
    """Mean F1 of the nine classes that carry the landmarks, of those that the truth contains; NaN without any."""
    return _mean(_present(f1(confusion), confusion)[list(FACE_CORE)])


def parsing(confusion: np.ndarray) -> dict:
    """All parsing figures: the means, pixel accuracy, and F1 and IoU by the names of the classes that occur."""

    def by_class(values: np.ndarray) -> dict[str, float]:
        return {name: float(v) for name, v in zip(CLASSES, values, strict=True) if np.isfinite(v)}

    return {
        "mean_f1": mean_f1(confusion),
        "mean_f1_face": mean_f1_face(confusion),
        "mean_iou": _mean(_present(iou(confusion), confusion)),
        "pixel_accuracy": float(_ratio(np.trace(confusion), confusion.sum())),
        "f1": by_class(f1(confusion)),
        "iou": by_class(iou(confusion)),
    }


def point_errors(points: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance of each point from the truth, in per cent of the distance between the true outer eye corners.

    Args:
        points: … × 68 × 2 (x, y), pixels.
        truth: same shape.

    Returns:
        … × 68.
    """
    right, left = (truth[..., i, :] for i in OUTER_EYE_CORNERS)
    size = np.linalg.norm(left - right, axis=-1)[..., None]
    return 100 * np.linalg.norm(points - truth, axis=-1) / size


def nme(points: np.ndarray, truth: np.ndarray) -> float:
    """Normalised mean error of one face's 68 × 2 points, by the distance between the outer eye corners."""
    return float(point_errors(points, truth).mean())


def match(predicted: Sequence[np.ndarray], truth: Sequence[np.ndarray]) -> list[int | None]:
    """Assign predicted faces to true ones, so that the sum of the IoUs of their boxes is largest.

    Args:
        predicted: 68 × 2 points of each predicted face.
        truth: 68 × 2 points of each true face.

    Returns:
        For each true face the index of its predicted face, None if it was missed.
    """
    overlap = np.array([[_box_iou(t, p) for p in predicted] for t in truth]).reshape(len(truth), len(predicted))
    pairs = zip(*linear_sum_assignment(overlap, maximize=True), strict=True)
    matched = {int(t): int(p) for t, p in pairs if overlap[t, p] >= MIN_MATCH_IOU}
    return [matched.get(i) for i in range(len(truth))]


def ced(errors: ArrayLike, thresholds: ArrayLike) -> np.ndarray:
    """Cumulative error distribution: the share of faces whose NME is at most each threshold.

    Args:
        errors: NME of each face in per cent; inf for a missed one.
        thresholds: in per cent.
    """
    return 100 * (np.asarray(errors)[None] <= np.asarray(thresholds)[:, None]).mean(1)


def fr8(errors: ArrayLike) -> float:
    """Failure rate: the share of faces whose NME is above 8 %. The NME of a missed face is inf."""
    return 100 * float((np.asarray(errors) > FAILURE_NME).mean())


def auc8(errors: ArrayLike) -> float:
    """Area under the cumulative error distribution up to an NME of 8 %; 100 is perfect."""
    return 100 * float(np.clip(1 - np.asarray(errors) / FAILURE_NME, 0, None).mean())


def auroc(scores: np.ndarray, errors: np.ndarray) -> float:
    """Area under the ROC curve of scores that predict which errors are at most 8 %.

    The share of pairs of a small and a large error in which the small one has the higher score. 50 is chance.

    Returns:
        NaN if all errors are above 8 %, or none is.
    """
    small = np.asarray(errors) <= FAILURE_NME
    return np.nan if small.all() or not small.any() else 100 * float(roc_auc_score(small, scores))


def landmarks(errors: np.ndarray, scores: np.ndarray) -> dict:
    """All landmark figures.

    ``nme``, ``nme_by_group`` and ``auroc`` (of points, and of faces by their means) cover the detected faces only, and
    are left out if there are none. ``recall`` is their share; ``fr8`` and ``auc8`` count a missed face as a failure.

    Args:
        errors: faces × 68 in per cent, see :func:`point_errors`; inf for a missed face. At least one face.
        scores: faces × 68, 0–1.
    """
    detected = np.isfinite(errors).all(1)
    figures: dict = {"faces": len(errors), "recall": 100 * int(detected.sum()) / len(errors)}
    if detected.any():
        hit_errors, hit_scores = errors[detected], scores[detected]
        aurocs = {
            "points": auroc(hit_scores.ravel(), hit_errors.ravel()),
            "faces": auroc(hit_scores.mean(1), hit_errors.mean(1)),
        }
        figures |= {
            "nme": float(hit_errors.mean()),
            "nme_by_group": {name: float(hit_errors[:, points].mean()) for name, points in POINT_GROUPS.items()},
            "auroc": {name: figure for name, figure in aurocs.items() if np.isfinite(figure)},
        }
    return figures | {"fr8": fr8(errors.mean(1)), "auc8": auc8(errors.mean(1))}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return 100 * np.divide(part, whole)


def _present(values: np.ndarray, confusion: np.ndarray) -> np.ndarray:
    """The values of the classes that the truth contains, NaN for the others."""
    return np.where(confusion.any(1), values, np.nan)


def _mean(values: np.ndarray) -> float:
    """The mean of what is not NaN; NaN if there is nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(np.nanmean(values))


def _box_iou(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a.min(0), b.min(0)), np.minimum(a.max(0), b.max(0))
    shared = np.clip(high - low, 0, None).prod()
    return float(shared / (np.ptp(a, 0).prod() + np.ptp(b, 0).prod() - shared + 1e-9))

"""What an operator sees of the endpoint: Prometheus metrics, and a line of JSON per request. No image is logged.

``metrics`` is TorchServe's ``context.metrics``. It collects what the worker measures.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

from facemark.inference.types import Parse

log = logging.getLogger(__name__)
LOW_CONFIDENCE = 0.5
"""A point with a lower score counts as one of low confidence."""


def count(metrics: Any, name: str, value: int, **labels: str) -> None:
    """Add to a counter that ``serve/metrics.yaml`` declares with these labels, in this order."""
    _add(metrics, MetricTypes.COUNTER, name, value, labels)


def observe(metrics: Any, name: str, value: float, **labels: str) -> None:
    """Add to a histogram that ``serve/metrics.yaml`` declares with these labels, in this order.

    TorchServe has only Prometheus' default buckets, from 0.005 to 10: good for seconds and for small numbers.
    """
    _add(metrics, MetricTypes.HISTOGRAM, name, value, labels)


def _add(metrics: Any, kind: MetricTypes, name: str, value: float, labels: dict[str, str]) -> None:
    dimensions = [Dimension(*label) for label in labels.items()]  # TorchServe appends the model's name to this list
    metrics.add_metric(f"facemark_{name}", round(value, 4), "", dimensions=dimensions, metric_type=kind)


def observe_faces(metrics: Any, parse: Parse) -> None:
    """Add the faces of one image, and their points by confidence."""
    observe(metrics, "faces_per_picture", len(parse.faces))
    scores = [score for face in parse.faces for score in face.scores]
    low = sum(bool(score < LOW_CONFIDENCE) for score in scores)
    count(metrics, "points_total", low, confidence="low")
    count(metrics, "points_total", len(scores) - low, confidence="high")


def log_request(request_id: str, outcome: str, **facts: int | None) -> None:
    """Log one request.

    Args:
        request_id: the ``x-request-id`` of its response.
        outcome: ``ok``, or the type of the error.
        facts: numbers about it.
    """
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    log.info(json.dumps({"time": time, "request": request_id, "outcome": outcome, **facts}))

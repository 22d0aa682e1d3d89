"""What an operator sees of the endpoint: metrics for Prometheus and a line of JSON a request, never a picture."""

import json
import logging
from datetime import UTC, datetime
from typing import Any

from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes

from facemark.inference.types import Parse

log = logging.getLogger(__name__)
UNSURE = 0.5
"""A point that scores less counts as one of low confidence."""


def count(metrics: Any, name: str, value: int, **labels: str) -> None:
    """Add to a counter that ``serve/metrics.yaml`` declares with these labels, in this order."""
    _add(metrics, MetricTypes.COUNTER, name, value, labels)


def observe(metrics: Any, name: str, value: float, **labels: str) -> None:
    """Add to a histogram that ``serve/metrics.yaml`` declares with these labels, in this order.

    TorchServe has Prometheus' default buckets alone, from 0.005 to 10: good for seconds and for small numbers.
    """
    _add(metrics, MetricTypes.HISTOGRAM, name, value, labels)


def _add(metrics: Any, kind: MetricTypes, name: str, value: float, labels: dict[str, str]) -> None:
    dimensions = [Dimension(*label) for label in labels.items()]  # TorchServe appends the model's name to this list
    metrics.add_metric(f"facemark_{name}", round(value, 4), "", dimensions=dimensions, metric_type=kind)


def faces(metrics: Any, parse: Parse) -> None:
    """Measure what was found in one picture."""
    observe(metrics, "faces_per_picture", len(parse.faces))
    scores = [score for face in parse.faces for score in face.scores]
    low = sum(bool(score < UNSURE) for score in scores)
    count(metrics, "points_total", low, confidence="low")
    count(metrics, "points_total", len(scores) - low, confidence="high")


def record(request: str, outcome: str, **facts: int | None) -> None:
    """Log one request: its id, which its answer carries as ``x-request-id``, its outcome, and numbers about it."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    log.info(json.dumps({"time": time, "request": request, "outcome": outcome, **facts}))

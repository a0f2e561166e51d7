"""Metrics in the text format of Prometheus, version 0.0.4. No value or label ever says anything about a key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of what `render_metrics` returns."""


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured. `name` and label names are letters, digits and underscores."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric; `labels` are (name, value) pairs."""

    metric: Metric
    labels: tuple[tuple[str, str], ...]
    value: float


def render_metrics(samples: Iterable[Sample]) -> bytes:
    """Return the samples as text: grouped by metric, metrics in the order in which they first come."""
    groups: dict[Metric, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.metric, []).append(sample)
    lines: list[str] = []
    for metric, members in groups.items():
        lines.append(f"# HELP {metric.name} {_escaped(metric.help)}")
        lines.append(f"# TYPE {metric.name} {metric.kind}")
        lines += [f"{metric.name}{_labels(sample)} {sample.value!r}" for sample in members]
    return "".join(line + "\n" for line in lines).encode("utf-8")


def _labels(sample: Sample) -> str:
    pairs = [f'{name}="{_escaped(value).replace('"', '\\"')}"' for name, value in sample.labels]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")

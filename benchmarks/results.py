"""What a benchmark says: lines with a name, a value, a unit, and a goal where there is one."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One figure. `goal` is what it should reach, as text such as `<= 1.5`; None where it is only reported."""

    name: str
    value: float
    unit: str
    goal: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.goal is None:
            return None
        relation, number = self.goal.split()
        return self.value <= float(number) if relation == "<=" else self.value >= float(number)

    def __str__(self) -> str:
        verdict = {None: "", True: f"goal {self.goal}: met", False: f"goal {self.goal}: NOT met"}[self.met]
        return f"{self.name:32} {self.value:12.4g} {self.unit:8} {verdict}".rstrip()


def write(lines: Sequence[Line], path: Path) -> None:
    """Write lines as a list of objects with `name`, `value`, `unit`, `goal`, `met`."""
    write_json([{**asdict(line), "met": line.met} for line in lines], path)


def write_json(content: object, path: Path) -> None:
    """Write JSON for people and programs to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the straight line through the logarithms of the points."""
    xs, ys = zip(*((math.log(x), math.log(y)) for x, y in points), strict=True)
    return statistics.linear_regression(xs, ys).slope

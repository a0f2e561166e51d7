"""`qss key get --demand`: what becomes of each demand, and of what is none."""

from __future__ import annotations

import click
import pytest

from qss.cli.key import _extension


@pytest.mark.parametrize(
    ("demand", "extension"),
    [
        ("disjoint_paths=2", ("qss_disjoint_paths", 2)),
        ("hybrid=ml-kem-768", ("qss_hybrid", "ml-kem-768")),
        ("avoid=B,C", ("qss_avoid", ["B", "C"])),
        ("avoid=7", ("qss_avoid", ["7"])),
        ("direct_only=true", ("qss_direct_only", True)),
        ("priority=low", ("qss_priority", "low")),
    ],
)
def test_a_demand_is_an_extension_of_the_request(demand: str, extension: tuple[str, object]) -> None:
    assert _extension(demand) == extension


@pytest.mark.parametrize("text", ["disjoint_paths", "=2", ""])
def test_what_is_no_demand_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(click.UsageError, match="such as --demand disjoint_paths=2"):
        _extension(text)

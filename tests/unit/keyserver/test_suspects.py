"""What paths keep clear of, and for how long."""

from __future__ import annotations

import pytest

from qss.core.keyserver.suspects import BLAMED_S, Suspects
from qss.model.identifiers import QksId
from qss.wire.relay import Reason

A, B, C, D = map(QksId, "ABCD")
PATH = (A, B, C, D)


@pytest.mark.parametrize(
    ("site", "reason", "link"),
    [
        (A, Reason.SHORTAGE, (A, B)),
        (B, Reason.SHORTAGE, (B, C)),
        (C, Reason.UNREACHABLE, (C, D)),
        (B, Reason.REFUSED, (B, C)),
        (D, Reason.LIMIT, (C, D)),
        (C, Reason.TAMPERED, (B, C)),
        (D, Reason.TAMPERED, (C, D)),
        (QksId("X"), Reason.LATE, (A, B)),
    ],
)
def test_the_link_where_it_could_not_go_on_is_passed_by(site: QksId, reason: Reason, link: tuple[QksId, QksId]) -> None:
    suspects = Suspects(A)
    suspects.failed(10.0, PATH, site, reason)
    assert suspects.links(10.0) == {link}
    assert suspects.links(10.0 + BLAMED_S) == frozenset()
    assert suspects.sites(10.0) == frozenset()


def test_a_link_has_one_name_whichever_way_it_was_gone() -> None:
    suspects = Suspects(D)
    suspects.failed(10.0, PATH[::-1], C, Reason.SHORTAGE)
    assert suspects.links(10.0) == {(B, C)}


def test_all_repeaters_of_a_block_that_differs_are_passed_by_and_its_ends_are_not() -> None:
    suspects = Suspects(A)
    assert suspects.differed(10.0, [(A, B, D), (A, C, D)]) == {B, C}
    assert suspects.sites(10.0 + BLAMED_S - 1) == {B, C}
    assert suspects.sites(10.0 + BLAMED_S) == frozenset()

"""What paths keep clear of, and for how long."""

from __future__ import annotations

import pytest

from qss.core.keyserver.suspects import BLAMED_S, FORGOTTEN_S, LONGEST_S, Suspects
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


def passed_by_s(suspects: Suspects, now: float) -> float:
    """For how many whole seconds the links that are passed by now still are."""
    return next(seconds for seconds in range(1000) if not suspects.links(now + seconds))


def test_a_link_that_fails_each_time_is_passed_by_for_longer_each_time() -> None:
    suspects, now, times = Suspects(A), 10.0, []
    for _ in range(2000):
        suspects.failed(now, PATH, B, Reason.SHORTAGE)
        times.append(passed_by_s(suspects, now))
        now += times[-1]
    assert times[:4] == [1, 2, 4, LONGEST_S]
    assert set(times[3:]) == {LONGEST_S}
    suspects.failed(now + FORGOTTEN_S, PATH, B, Reason.SHORTAGE)
    assert passed_by_s(suspects, now + FORGOTTEN_S) == 1


def test_a_source_that_has_waited_in_vain_does_not_know_where_it_went_wrong() -> None:
    suspects = Suspects(A)
    suspects.failed(10.0, PATH, A, Reason.LATE)
    assert suspects.links(10.0) == {(A, B), (B, C), (C, D)}


def test_many_failures_at_once_are_one() -> None:
    suspects = Suspects(A)
    for _ in range(8):
        suspects.failed(10.0, PATH, B, Reason.SHORTAGE)
    assert passed_by_s(suspects, 10.0) == 1


def test_a_link_on_which_nothing_came_in_time_is_passed_by_for_longer_than_that_takes() -> None:
    suspects = Suspects(A)
    suspects.failed(10.0, PATH, A, Reason.LATE)
    suspects.failed(10.0, PATH, A, Reason.SHORTAGE)  # makes it no shorter
    assert passed_by_s(suspects, 10.0) == 30


def test_a_path_that_worked_is_passed_by_no_more() -> None:
    suspects, now = Suspects(A), 10.0
    for _ in range(3):
        suspects.failed(now, PATH, B, Reason.SHORTAGE)
        now += passed_by_s(suspects, now)
    suspects.failed(now, PATH, C, Reason.SHORTAGE)
    suspects.worked((A, B, C))
    assert suspects.links(now) == {(C, D)}
    suspects.failed(now, PATH, B, Reason.SHORTAGE)
    assert passed_by_s(suspects, now) == 1

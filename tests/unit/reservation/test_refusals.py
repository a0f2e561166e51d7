"""What the other site refuses costs the range that was allocated for it, once; then nobody asks for a while."""

from __future__ import annotations

import pytest

from qss.core.reservation import refusals
from qss.core.reservation.events import Reserve
from qss.core.reservation.phases import AskPhase
from qss.core.reservation.refusals import Refusals
from qss.core.reservation.state import Pending
from qss.model.errors import LimitReached, Unauthorised
from qss.model.identifiers import ReservationId, SaeId
from qss.model.records import BurnReason
from qss.wire.external import Reason
from support.link_pair import ALICE, BOB, CAROL, End, LinkPair


def refuse(end: End, **settings: object) -> None:
    """Have this end refuse what the other asks."""
    for name, value in settings.items():
        object.__setattr__(end.link.settings, name, value)


def burned(end: End) -> int:
    return sum(record.tally.burned.get(BurnReason.REFUSED, 0) for record in end.link.streams)


@pytest.mark.parametrize(
    ("settings", "error", "lasts"),
    [
        ({"admits": lambda *_: False}, Unauthorised, 60.0),
        ({"max_key_bytes": 8}, LimitReached, 60.0),
        ({"max_reservations": 0}, LimitReached, 1.0),
    ],
)
def test_the_owner_burns_once_and_asks_again_later(settings, error, lasts) -> None:
    pair = LinkPair().ready()
    before = {name: getattr(pair.b.link.settings, name) for name in settings}
    refuse(pair.b, **settings)
    for _ in range(5):
        request = pair.reserve(pair.a)
        pair.settle()
        assert isinstance(pair.refused[request], error)
    assert burned(pair.a) == 128
    pair.balanced()
    refuse(pair.b, **before)
    pair.tick(lasts - 0.1)
    pair.settle()
    assert isinstance(pair.refused[pair.reserve(pair.a)], error)
    pair.tick(0.2)
    pair.settle()
    served = pair.reserve(pair.a)
    pair.settle()
    assert served in pair.master_got


def test_at_the_other_end_a_refusal_burns_nothing() -> None:
    pair = LinkPair().ready()
    refuse(pair.a, admits=lambda *_: False)
    for _ in range(3):
        request = pair.reserve(pair.b)
        pair.settle()
        assert isinstance(pair.refused[request], Unauthorised)
    assert burned(pair.a) == burned(pair.b) == 0


def test_another_pair_is_asked_for_all_the_same() -> None:
    pair = LinkPair().ready()
    refuse(pair.b, admits=lambda _, slaves: CAROL not in slaves)
    refused = pair.reserve(pair.a)
    pair.settle()
    assert isinstance(pair.refused[refused], Unauthorised)
    reservation = ReservationId.from_entropy(pair.fresh())
    pair.asked[reservation] = Reserve(reservation, 1, 16, ALICE, (BOB,))
    pair.a.waiting.add(reservation)
    pair.handle(pair.a, pair.asked[reservation])
    pair.settle()
    assert reservation in pair.master_got


def test_no_more_is_remembered_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MAX_REMEMBERED", 2)
    known = Refusals()
    for number in range(3):
        sae = SaeId(f"sae:{number}")
        known.note(Pending(0.0, 1, 16, sae, (BOB,), AskPhase.ASKED), Reason.UNAUTHORISED, 0.0)
    reservation = ReservationId.from_entropy(bytes(16))
    standing = [known.standing(Reserve(reservation, 1, 16, SaeId(f"sae:{n}"), (BOB,)), 1.0) for n in range(3)]
    assert standing == [None, Reason.UNAUTHORISED, Reason.UNAUTHORISED]


def test_a_shortage_is_not_remembered() -> None:
    known = Refusals()
    known.note(Pending(0.0, 1, 16, ALICE, (BOB,), AskPhase.ASKED), Reason.SHORTAGE, 0.0)
    assert known.standing(Reserve(ReservationId.from_entropy(bytes(16)), 1, 16, ALICE, (BOB,)), 0.0) is None

"""What the other site refuses costs the range that was allocated for it, once; then nobody asks for a while."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from qss.core.reservation import events as ev
from qss.core.reservation import refusals
from qss.core.reservation.events import Reserve
from qss.core.reservation.forbidden import MAX_TOLD, QUIET_S, Forbidden
from qss.core.reservation.phases import AskPhase
from qss.core.reservation.refusals import Refusals
from qss.core.reservation.state import Pending
from qss.model.errors import LimitReached, PeerUnavailable, Unauthorised
from qss.model.identifiers import ReservationId, SaeId
from qss.model.keys import Priority
from qss.model.records import BurnReason
from qss.wire.external import Ask, Reason
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
        ({"objection": lambda *_: Reason.UNAUTHORISED}, Unauthorised, 60.0),
        ({"objection": lambda *_: Reason.UNKNOWN}, PeerUnavailable, 1.0),
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
    refuse(pair.a, objection=lambda *_: Reason.UNAUTHORISED)
    for _ in range(3):
        request = pair.reserve(pair.b)
        pair.settle()
        assert isinstance(pair.refused[request], Unauthorised)
    assert burned(pair.a) == burned(pair.b) == 0


@pytest.mark.parametrize(("asking", "master", "slaves"), [("a", ALICE, (BOB, CAROL)), ("b", BOB, (ALICE,))])
def test_whose_rules_forbid_a_pair_is_told_once_in_a_while(
    asking: str, master: SaeId, slaves: tuple[SaeId, ...]
) -> None:
    pair = LinkPair().ready()
    asker = getattr(pair, asking)
    refuser = pair.other(asker)
    told = ev.PairForbidden(master, slaves)
    refuse(refuser, objection=lambda *_: Reason.UNAUTHORISED)
    for _ in range(3):
        pair.reserve(asker)
        pair.settle()
        pair.tick(61.0)  # the asker asks again
        pair.settle()
    assert forbidden(refuser) == [told]
    pair.tick(QUIET_S)
    pair.settle()
    pair.reserve(asker)
    pair.settle()
    assert forbidden(refuser) == [told, told]
    assert forbidden(asker) == []


def forbidden(end: End) -> list[ev.PairForbidden]:
    return [effect for effect in end.effects if isinstance(effect, ev.PairForbidden)]


def test_what_is_no_sae_is_no_pair_and_only_so_many_are_remembered() -> None:
    told: list[object] = []
    state = SimpleNamespace(now=0.0, effect=told.append)
    pairs = Forbidden(state)  # type: ignore[arg-type]

    def tell(master: str) -> int:
        told.clear()
        pairs.tell(Ask(bytes(16), 1, 32, master, ("bob",), "", cover=False, priority=Priority.NORMAL))
        return len(told)

    assert tell("al ice") == tell("\x1b[1m") == 0
    assert [tell(f"alice{number}") for number in range(MAX_TOLD + 1)] == [1] * (MAX_TOLD + 1)
    assert [tell("alice1"), tell("alice0")] == [0, 1]


def test_another_pair_is_asked_for_all_the_same() -> None:
    pair = LinkPair().ready()
    refuse(pair.b, objection=lambda _, slaves, __: Reason.UNAUTHORISED if CAROL in slaves else None)
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

    def note(number: int) -> None:
        sae = SaeId(f"sae:{number}")
        known.note(Pending(0.0, 1, 16, sae, (BOB,), AskPhase.ASKED), Reason.UNAUTHORISED, 0.0)

    def standing() -> list[int]:
        asks = [Reserve(ReservationId.from_entropy(bytes(16)), 1, 16, SaeId(f"sae:{n}"), (BOB,)) for n in range(3)]
        return [n for n, ask in enumerate(asks) if known.standing(ask, 1.0) is not None]

    for number in (0, 1, 1):
        note(number)
    assert standing() == [0, 1]
    for number in (0, 2):
        note(number)
    assert standing() == [0, 2]  # 1 was refused longest ago


def test_a_shortage_is_not_remembered() -> None:
    known = Refusals()
    known.note(Pending(0.0, 1, 16, ALICE, (BOB,), AskPhase.ASKED), Reason.SHORTAGE, 0.0)
    assert known.standing(Reserve(ReservationId.from_entropy(bytes(16)), 1, 16, ALICE, (BOB,)), 0.0) is None


def test_a_master_that_asks_for_ever_other_things_burns_so_many_ranges_and_no_more() -> None:
    pair = LinkPair().ready(64)
    refuse(pair.b, max_key_bytes=7)
    for key_bytes in range(8, 8 + 2 * refusals.MOST_OF_ONE):
        request = pair.reserve(pair.a, key_bytes=key_bytes)
        pair.settle()
        assert isinstance(pair.refused[request], LimitReached)
    assert burned(pair.a) == 8 * sum(range(8, 8 + refusals.MOST_OF_ONE))
    refuse(pair.b, max_key_bytes=1024)
    pair.tick(60.1)
    pair.settle()
    served = pair.reserve(pair.a)
    pair.settle()
    assert served in pair.master_got
    pair.balanced()


def test_the_order_of_slaves_makes_no_other_request() -> None:
    known = Refusals()
    pending = Pending(5.0, 1, 16, ALICE, (BOB, CAROL), AskPhase.ASKED)
    known.note(pending, Reason.UNAUTHORISED, 0.0)
    ask = Reserve(ReservationId.from_entropy(bytes(16)), 1, 16, ALICE, (CAROL, BOB))
    assert known.standing(ask, 1.0) is Reason.UNAUTHORISED

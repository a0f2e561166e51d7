"""Who has which key stream open at a site, and which offers of other sites it meets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qss.core.keyserver.stream_parties import StreamPlan
from qss.core.keyserver.stream_register import (
    MAX_OF_ONE,
    MAX_STREAMS,
    MAX_USED,
    MAX_WAITING,
    MAX_WAITING_OF_SITE,
    StreamRegister,
)
from qss.core.module.calls import Announcement
from qss.model.errors import LocalProtocolError
from qss.model.identifiers import QksId, SaeId, StreamId
from qss.wire.etsi004.status import Status
from qss.wire.stream_meeting import Found, Offer, Reason, Refuse, Wait

B, C = QksId("B"), QksId("C")
ALICE, ANN, CAROL = map(SaeId, ("sae:alice", "sae:ann", "sae:carol"))
PLAN = StreamPlan(ALICE, CAROL, C, may_ask=True, may_be_asked=True)


def ksid(number: int = 0) -> StreamId:
    return StreamId(number.to_bytes(16))


OFFER = Offer(ksid().value, CAROL, ALICE, 64, may_ask=True, may_be_asked=True)


def opened(register: StreamRegister, number: int = 0, plan: StreamPlan = PLAN, chunk_bytes: int = 48) -> None:
    assert register.take(ksid(number), plan) is None
    register.begin(ksid(number), chunk_bytes)


# --- this site's SAEs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [PLAN, replace(PLAN, sae=ANN), replace(PLAN, peer=B)])
@pytest.mark.parametrize("begun", [True, False])
def test_a_name_is_one_streams(begun: bool, plan: StreamPlan) -> None:
    register = StreamRegister()
    assert register.take(ksid(), PLAN) is None
    if begun:
        register.begin(ksid(), 64)
    assert register.take(ksid(), plan) is Status.KSID_IN_USE
    assert len(register) == 1


def test_a_name_is_not_used_again_but_one_that_was_never_opened_may_be() -> None:
    register = StreamRegister()
    assert register.take(ksid(), PLAN) is None
    register.close(ksid())
    opened(register)
    register.close(ksid())
    register.close(ksid())
    assert register.take(ksid(), PLAN) is Status.KSID_IN_USE
    assert register.answer(C, OFFER) == Refuse(Reason.IN_USE)
    assert len(register) == 0


def test_so_many_names_are_remembered() -> None:
    register = StreamRegister()
    for number in range(MAX_USED + 1):
        opened(register, number)
        register.close(ksid(number))
    assert register.take(ksid(1), PLAN) is Status.KSID_IN_USE
    assert register.take(ksid(0), PLAN) is None


def test_an_sae_has_so_many_streams_and_a_site_so_many_in_all() -> None:
    register = StreamRegister()
    for number in range(MAX_OF_ONE):
        opened(register, number)
    assert register.take(ksid(MAX_OF_ONE), PLAN) is Status.NO_QKD_CONNECTION
    register.close(ksid(0))
    opened(register, MAX_OF_ONE)
    for number in range(MAX_OF_ONE + 1, MAX_STREAMS + 1):
        opened(register, number, replace(PLAN, sae=SaeId(f"sae:{number}")))
    assert register.take(ksid(MAX_STREAMS + 1), replace(PLAN, sae=ANN)) is Status.NO_QKD_CONNECTION
    assert len(register) == MAX_STREAMS


def test_what_is_out_of_turn_is_a_defect() -> None:
    register = StreamRegister()
    opened(register)
    with pytest.raises(LocalProtocolError):
        register.begin(ksid(), 64)
    register.meet(ksid())
    with pytest.raises(LocalProtocolError):
        register.meet(ksid())


# --- other sites --------------------------------------------------------------------------------------------------


def test_an_offer_waits_until_its_stream_is_opened_and_tells_the_size_of_its_chunks() -> None:
    register = StreamRegister()
    assert register.offered(C, OFFER) == Wait()
    assert register.take(ksid(), PLAN) is None
    assert register.announced(ksid()) == Announcement(ksid(), 64)
    assert register.answer(C, OFFER) == Wait()
    register.begin(ksid(), 64)
    assert register.answer(C, OFFER) == Found(64, initiator_asks=True)
    register.withdraw(C, OFFER)
    register.meet(ksid())
    assert register.answer(C, OFFER) == Refuse(Reason.IN_USE)
    assert register.waiting == 0


def test_an_offer_finds_what_is_open_with_the_size_that_it_has() -> None:
    register = StreamRegister()
    opened(register)
    assert register.offered(C, OFFER) == Found(48, initiator_asks=True)
    assert register.waiting == 0


@pytest.mark.parametrize(
    ("peer", "changed"),
    [(B, {}), (C, {"sae": "sae:mallory"}), (C, {"other": "sae:ann"}), (C, {"sae": ALICE, "other": CAROL})],
)
def test_an_offer_of_others_never_meets_a_stream(peer: QksId, changed: dict[str, str]) -> None:
    register = StreamRegister()
    offer = Offer(**({name: getattr(OFFER, name) for name in OFFER.__struct_fields__} | changed))
    assert register.offered(peer, offer) == Wait()
    assert register.take(ksid(), PLAN) is None
    assert register.announced(ksid()) is None
    register.begin(ksid(), 48)
    assert register.answer(peer, offer) == Refuse(Reason.IN_USE)
    assert register.answer(C, OFFER) == Found(48, initiator_asks=True)


@pytest.mark.parametrize("here", [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("there", [(True, True), (True, False), (False, True), (False, False)])
def test_a_master_asks_if_the_rules_of_both_sites_let_it(here: tuple[bool, bool], there: tuple[bool, bool]) -> None:
    register = StreamRegister()
    opened(register, plan=StreamPlan(ALICE, CAROL, C, *here))
    answer = register.answer(C, Offer(ksid().value, CAROL, ALICE, 48, *there))
    if here[0] and there[1]:
        assert answer == Found(48, initiator_asks=True)
    elif here[1] and there[0]:
        assert answer == Found(48, initiator_asks=False)
    else:
        assert answer == Refuse(Reason.FORBIDDEN)


def test_offers_that_wait_are_bounded_for_a_site_and_in_all() -> None:
    register = StreamRegister()

    def offer(peer: str, number: int) -> object:
        return register.offered(QksId(peer), Offer(ksid(number).value, CAROL, ALICE, 64, True, True))

    for number in range(MAX_WAITING_OF_SITE):
        assert offer("C", number) == Wait()
    assert offer("C", MAX_WAITING_OF_SITE) == Refuse(Reason.LIMIT)
    assert offer("C", 0) == Wait()  # as one that had waited before
    for number in range(MAX_WAITING - MAX_WAITING_OF_SITE):
        assert offer(f"D{number // MAX_WAITING_OF_SITE}", number) == Wait()
    assert offer("E", 0) == Refuse(Reason.LIMIT)
    assert register.waiting == MAX_WAITING


def test_a_newer_offer_takes_the_place_of_an_older_one() -> None:
    register = StreamRegister()
    newer = Offer(ksid().value, CAROL, ALICE, 96, True, True)
    assert register.offered(C, OFFER) == register.offered(C, newer) == Wait()
    register.withdraw(C, OFFER)
    assert register.take(ksid(), PLAN) is None
    assert register.announced(ksid()) == Announcement(ksid(), 96)
    register.withdraw(C, newer)
    assert register.announced(ksid()) is None

"""A store that its anchor or a neighbour knows better is doubted, and no link but a liar's own burns without proof."""

from __future__ import annotations

import pytest

from qss.core.reservation import restores
from qss.core.reservation.events import RestoreNoticed
from qss.core.reservation.restores import Doubt
from qss.model.identifiers import QksId
from qss.model.incarnations import next_incarnation
from qss.model.records import PeerRecord

A, B, C = map(QksId, ("A", "B", "C"))
FIRST = next_incarnation(0, bytes(5))
LATER = next_incarnation(FIRST, bytes(5))


def test_a_new_store_needs_no_anchor() -> None:
    assert restores.at_start(FIRST, 0, None, ()) is None


@pytest.mark.parametrize(("commit_number", "anchored"), [(7, 7), (8, 7), (0, 0)])
def test_a_store_that_has_come_as_far_as_its_anchor_is_what_it_was(commit_number, anchored) -> None:
    assert restores.at_start(LATER, commit_number, anchored, ()) is None


@pytest.mark.parametrize("incarnation", [FIRST, LATER])
def test_a_store_behind_its_anchor_is_doubted_on_all_links(incarnation) -> None:
    doubt = restores.at_start(incarnation, 6, 7, (PeerRecord(B), PeerRecord(C, must_burn=True)))
    assert doubt is not None
    assert (doubt.everywhere, doubt.remembered, doubt.intended) == (True, 7, False)
    assert "older than its anchor" in doubt.reason


def test_a_store_that_has_run_and_has_no_anchor_is_doubted_on_all_links() -> None:
    doubt = restores.at_start(LATER, 6, None, (PeerRecord(B),))
    assert doubt is not None
    assert (doubt.everywhere, doubt.remembered) == (True, 6)
    assert not doubt.intended
    assert "anchor file is missing" in doubt.reason


@pytest.mark.parametrize(("anchored", "remembered"), [(7, 7), (None, 6)])
def test_a_store_of_a_restore_is_doubted_on_all_links_as_somebody_wanted(anchored, remembered) -> None:
    known = (PeerRecord(B, must_burn=True), PeerRecord(C, must_burn=True))
    doubt = restores.at_start(LATER, 6, anchored, known)
    assert doubt is not None
    assert (doubt.everywhere, doubt.remembered, doubt.intended) == (True, remembered, True)
    assert "`qss restore`" in doubt.reason
    assert restores.at_start(LATER, 8, 7, known) is None


def test_a_neighbour_with_proof_is_believed_for_all_links() -> None:
    doubt = restores.by_neighbour(RestoreNoticed(LATER, 140, b"told"), b"told")
    assert (doubt.everywhere, doubt.remembered) == (True, 140)


@pytest.mark.parametrize("proof", [b"", b"tolt", b"told "])
def test_a_neighbour_without_proof_has_its_own_link_burned_and_moves_no_number(proof) -> None:
    doubt = restores.by_neighbour(RestoreNoticed(LATER, 2**63 - 1, proof), b"told")
    assert (doubt.everywhere, doubt.remembered) == (False, 0)


def test_a_doubt_of_all_links_reaches_those_that_are_not_configured_now() -> None:
    known = (PeerRecord(B, base=3, recall_made=2), PeerRecord(C, base=4))
    marked = restores.must_burn(Doubt("", everywhere=True, remembered=1), [A, B], known)
    assert {record.peer for record in marked} == {A, B, C}
    assert all(record.must_burn for record in marked)
    assert PeerRecord(B, base=3, recall_made=2, must_burn=True) in marked  # what else is remembered stays


def test_a_doubt_of_one_link_leaves_the_others() -> None:
    marked = restores.must_burn(Doubt("", everywhere=False, remembered=0), [A], (PeerRecord(B), PeerRecord(C)))
    assert marked == (PeerRecord(A, must_burn=True),)


def test_a_start_raises_the_base_of_those_with_whom_states_were_exchanged_and_once() -> None:
    known = (PeerRecord(B, base=3, exchanged=True), PeerRecord(C, base=3))
    risen = restores.not_forgotten(9, known)
    assert risen == (PeerRecord(B, base=9),)
    assert restores.not_forgotten(11, risen) == ()

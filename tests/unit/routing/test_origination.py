"""What a site says of itself, and when: versions, refreshing, withdrawal, and holding back."""

from __future__ import annotations

import itertools
import zlib

import pytest

from qss.core.routing.hold import BURST, FIRST_HOLD_S, LONGEST_HOLD_S
from qss.core.routing.origination import Origin, Origination
from qss.model.identifiers import SaeId
from qss.wire import routing as wire

ORIGIN = Origin(wire.Source("A", "a", 1), wire.Endpoint("a", 2), lifetime_s=90)
LINKS, SAES = wire.Key("A", wire.LsaType.LINKS, 0), wire.Key("A", wire.LsaType.SAES, 0)
TO_B = wire.LinkState("B", 256, 1024)


@pytest.fixture
def site():
    origination = Origination(ORIGIN)
    said(origination, 0.0)
    return origination


def said(origination, now):
    """Return what is said now, by key."""
    return {body.key: body for body in origination.due(now, wall=1e9 + now)}


def saes(*names):
    return {SaeId(name): None for name in names}


def versions(bodies):
    return {key: (body.generation, body.sequence) for key, body in bodies.items()}


def test_at_first_both_types_are_said_though_there_is_nothing():
    bodies = said(Origination(ORIGIN, generation=7), 0.0)
    assert versions(bodies) == {LINKS: (7, 1), SAES: (7, 1)}
    assert bodies[LINKS].timestamp == 1_000_000_000
    assert not bodies[LINKS].withdrawn


def test_only_what_changed_is_said_and_its_sequence_rises(site):
    site.set_links([TO_B])
    assert versions(said(site, 10.0)) == {LINKS: (0, 2)}
    assert said(site, 20.0) == {}
    site.set_links([TO_B])
    assert said(site, 21.0) == {}


def told_from(site, now, changes):
    """Change something each 10 ms; return when it was told."""
    told = []
    for number in range(changes):
        site.set_links([wire.LinkState("B", number + 1, 1)])
        if said(site, now + number / 100):
            told.append(now + number / 100)
    return told


def test_the_first_change_is_told_at_once_the_next_ones_soon_and_many_once_a_second(site):
    told = told_from(site, 10.0, 1000)
    pauses = [later - earlier for earlier, later in itertools.pairwise(told)]
    assert told[0] == 10.0
    assert pauses[: BURST - 1] == pytest.approx([FIRST_HOLD_S] * (BURST - 1), abs=0.011)
    assert pauses[BURST + 1 :] == pytest.approx([LONGEST_HOLD_S] * (len(pauses) - BURST - 1), abs=0.011)
    assert len(told) < BURST + 10 / LONGEST_HOLD_S + 2


def test_after_a_quiet_time_changes_are_told_at_once_again(site):
    told_from(site, 10.0, 1000)
    told = told_from(site, 20.0 + BURST * LONGEST_HOLD_S, 100)
    assert told[0] == 20.0 + BURST * LONGEST_HOLD_S
    assert len(told) >= BURST


def test_a_change_that_is_taken_back_while_it_is_held_is_not_told(site):
    site.set_links([TO_B])
    said(site, 10.0)
    site.set_links([wire.LinkState("B", 1, 1)])
    assert said(site, 10.01) == {}
    site.set_links([TO_B])
    assert said(site, 20.0) == {}


def test_links_and_saes_are_held_apart(site):
    site.set_links([TO_B])
    assert set(said(site, 10.0)) == {LINKS}
    site.set_saes(saes("sae:alice"))
    assert set(said(site, 10.0)) == {SAES}


def test_all_is_refreshed_after_a_third_of_its_lifetime(site):
    assert said(site, 29.9) == {}
    assert versions(said(site, 30.0)) == {LINKS: (0, 2), SAES: (0, 2)}
    assert said(site, 59.9) == {}
    assert versions(said(site, 60.0)) == {LINKS: (0, 3), SAES: (0, 3)}


def test_whoever_leaves_withdraws_all_and_says_no_more(site):
    site.set_links([TO_B])
    said(site, 10.0)
    site.leave()
    bodies = said(site, 10.0)
    assert versions(bodies) == {LINKS: (0, 3), SAES: (0, 2)}
    assert all(body.withdrawn and not body.links and not body.saes for body in bodies.values())
    assert said(site, 1000.0) == {}


@pytest.mark.parametrize(
    ("heard", "version"),
    [((0, 5), (0, 6)), ((3, 1), (3, 2)), ((0, 1), (0, 2)), ((0, wire.MAX_SEQUENCE), (1, 1))],
)
def test_what_somebody_still_has_of_a_former_life_is_outdone(site, heard, version):
    site.heard_own(wire.Header(SAES, *heard, bytes(8)))
    assert versions(said(site, 10.0)) == {SAES: version}


def test_a_part_that_is_said_no_more_is_withdrawn(site):
    gone = wire.Key("A", wire.LsaType.SAES, 5)
    site.heard_own(wire.Header(gone, 0, 8, bytes(8)))
    bodies = said(site, 10.0)
    assert versions(bodies) == {gone: (0, 9)}
    assert bodies[gone].withdrawn


# --- parts ------------------------------------------------------------------------------------------------------------


def told(bodies):
    return sorted(sae.sae for body in bodies.values() for sae in body.saes)


def large(*names):
    """SAEs with statements of a size, of which some 190 fit into one part."""
    return {SaeId(name): bytes(240) for name in names}


def names(number, prefix="sae"):
    return [f"{prefix}:{each:05}" for each in range(number)]


def test_many_saes_are_parted_and_one_that_comes_or_goes_changes_one_part(site):
    many = saes(*names(10_000))
    site.set_saes(many)
    bodies = said(site, 10.0)
    assert told(bodies) == sorted(many)
    assert len(bodies) == 4
    assert all(len(wire.encode_body(body)) <= wire.MAX_BODY_BYTES for body in bodies.values())
    site.set_saes(many | saes("sae:one-more"))
    assert len(said(site, 20.0)) == 1
    site.set_saes({sae: None for sae in many if sae != "sae:00000"} | saes("sae:one-more"))
    assert len(said(site, 30.0 - 0.1)) == 1


def test_an_sae_whose_statement_is_renewed_stays_where_it_is_if_it_fits(site):
    many = large(*names(400))
    site.set_saes(many)
    said(site, 10.0)
    site.set_saes(many | {SaeId("sae:00001"): bytes(range(240))})
    assert len(said(site, 12.0)) == 1
    site.set_saes(many | {SaeId("sae:00001"): bytes(1500)})
    bodies = said(site, 14.0)
    assert len(bodies) == 2
    assert told(bodies).count("sae:00001") == 1
    assert site.untold == ()


def test_ids_that_somebody_has_chosen_do_not_fill_one_part_while_others_are_empty(site):
    """By CRC-32, as parts were once chosen, all of these belong into one of 64."""
    chosen = [name for name in names(40_000) if zlib.crc32(name.encode()) % wire.MAX_PARTS == 7]
    assert len(chosen) > 500
    site.set_saes(large(*chosen))
    assert told(said(site, 10.0)) == chosen
    assert site.untold == ()


def test_what_does_not_fit_is_known_and_told_as_soon_as_there_is_room(site):
    many = large(*names(13_000))
    site.set_saes(many)
    bodies = said(site, 10.0)
    assert len(bodies) == wire.MAX_PARTS
    assert 12_000 < len(told(bodies)) < 13_000
    assert [*told(bodies), *site.untold] == names(13_000)
    first = site.untold[0]
    left = {sae: statement for sae, statement in many.items() if sae != "sae:00777"}
    site.set_saes(left)
    assert first in told(said(site, 20.0)), "what leaves makes room for another"
    assert sorted((*told_in_all(site), *site.untold)) == sorted(left)
    assert first not in site.untold
    site.set_saes(large(*names(100)))
    assert site.untold == ()


def told_in_all(site):
    return [sae.sae for _, part in site._parts for sae in part]


@pytest.mark.parametrize("bad", [{SaeId("x" * 256): None}, {SaeId("two words"): None}, {SaeId("sae:x"): bytes(1537)}])
def test_what_others_could_not_read_is_not_signed_and_all_else_is_told(site, bad):
    site.set_saes(saes("sae:alice", "sae:zoe") | bad)
    bodies = said(site, 10.0)
    assert told(bodies) == ["sae:alice", "sae:zoe"]
    assert site.untold == tuple(bad)
    for body in bodies.values():
        assert wire.decode_body(wire.encode_body(body)) == body


def test_parts_that_are_needed_no_more_are_withdrawn(site):
    site.set_saes(saes(*(f"sae:{number:04}" for number in range(10_000))))
    said(site, 10.0)
    site.set_saes(saes("sae:alice"))
    bodies = said(site, 20.0)
    assert [body.withdrawn for _, body in sorted(bodies.items())] == [False, True, True, True]

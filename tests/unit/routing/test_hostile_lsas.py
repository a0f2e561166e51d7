"""LSAs that should not be: each is dropped, counted and told with the neighbour's name, and all else works on."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from qss.core.routing import database
from qss.core.routing.adjacency import Phase
from qss.core.routing.events import Disconnected, Reason, Received, SaesAtHome, Tick
from qss.core.routing.origination import LAST
from qss.model.errors import RemoteProtocolError
from qss.model.identifiers import SaeId
from qss.simulation.routing import sign_as
from qss.wire import routing as wire
from support.one_router import UNSIGNED, A, B, C, OneRouter, acks, carried, header_of, lsas, saes_of

GOOD = saes_of("D", 1, "sae:d")
SITE_OF_D = wire.Source("D", "h", 1)
LINKS_OF_D = replace(GOOD, type=wire.LsaType.LINKS, saes=(), links=(wire.LinkState("E", 1, 1),))


@pytest.fixture
def site():
    return OneRouter()


def still_works(site):
    """Whether an honest LSA is taken of both neighbours, and sent on."""
    for peer, other, origin in ((B, C, "honest-1"), (C, B, "honest-2")):
        body = saes_of(origin, 1, f"sae:{origin}")
        assert header_of(body) in acks(site.send(peer, carried(body)))
        assert body in lsas(site.sent[other])
        assert site.knows(f"sae:{origin}") == origin
    assert site.phase(B) is site.phase(C) is Phase.FULL
    return True


def as_list(body):
    return msgspec.msgpack.decode(wire.encode_body(body))


def with_item(body, place, item):
    items = as_list(body)
    items[place] = item
    return msgspec.msgpack.encode(items)


LINK, SAE = ["E", 1, 1], ["sae:e", None]
UNREADABLE = {
    "noise": b"\x93\x01\x02",
    "its end is missing": wire.encode_body(GOOD)[:-3],
    "bytes after its end": wire.encode_body(GOOD) + b"\x00",
    "links and SAEs": with_item(LINKS_OF_D, 11, [SAE]),
    "SAEs and links": with_item(GOOD, 10, [LINK]),
    "a link to itself": with_item(LINKS_OF_D, 10, [["D", 1, 1]]),
    "the same link twice": with_item(LINKS_OF_D, 10, [LINK, ["E", 2, 2]]),
    "the same SAE twice": with_item(GOOD, 11, [SAE, ["sae:e", b"signed"]]),
    "withdrawn with links": with_item(LINKS_OF_D, 8, True),
    "withdrawn with SAEs": with_item(GOOD, 8, True),
    "links in another part": with_item(LINKS_OF_D, 4, 1),
    "a version of before": with_item(GOOD, 0, 0),
    "a lifetime of years": with_item(GOOD, 7, 10**8),
    "a generation beyond the last": with_item(GOOD, 5, 1 << 63),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_or_contradicts_itself_is_dropped(site, body):
    said = sign_as("D")(body)  # truly signed, but nonsense
    assert acks(site.send(B, carried(body, said=said))) == []
    assert site.lines == [(B, Reason.MALFORMED)]
    assert site.dropped == {(B, Reason.MALFORMED): 1}
    assert site.checks == 0
    assert lsas(site.sent[C]) == []
    assert still_works(site)


def with_type(name, sequence=1, origin="D", part=0):
    body = replace(saes_of(origin, sequence, part=part), type=name)
    return msgspec.msgpack.encode([*msgspec.msgpack.decode(msgspec.msgpack.encode(body))[:9], {"of": "others"}])


def opaque(encoded, **more):
    return carried(encoded, said=sign_as("D")(encoded), **more)


def test_what_only_others_can_read_is_checked_kept_and_sent_on_and_means_nothing_here(site):
    """A type that a later release tells, and a later version of one that is known (3.5)."""
    later = msgspec.msgpack.encode([2, *as_list(saes_of("D", 7, "sae:d", part=1))[1:], "a further member"])
    table = site.router.calculate()
    for encoded in (with_type("X"), later):
        assert acks(site.send(B, carried(encoded, said=UNSIGNED))) == []
        (header,) = acks(site.send(B, opaque(encoded)))
        assert encoded in [each.body for each in carried_to(site, C)]
        assert site.router.database.get(header.key).encoded == encoded
    assert site.router.calculate() is table
    assert site.dropped == {(B, Reason.SIGNATURE): 2}
    newer = with_type("X", 2)
    site.send(C, opaque(newer))
    assert newer in [each.body for each in carried_to(site, B)]
    site.disconnect(C)
    site.connect(C)
    site.hello(C)
    site.tell(C, wire.Summary((), more=False))
    told = [message for message in site.sent[C] if isinstance(message, wire.Summary)][-1]
    assert "X" in {header.key.type for header in told.headers}
    site.run(91)
    assert site.router.database.get(wire.Key("D", "X", 0)) is None
    assert still_works(site)


def test_what_only_others_can_read_of_this_site_itself_is_let_be(site):
    """It has run a later release before: nobody here can say anything newer of that type."""
    encoded = with_type("X", origin=A)
    site.send(B, carried(encoded, said=sign_as(A)(encoded)))
    site.run(2)
    assert encoded in [each.body for each in carried_to(site, C)]
    assert still_works(site)


def carried_to(site, peer):
    updates = [message for message in site.sent[peer] if isinstance(message, wire.Update)]
    return [each for message in updates for each in message.carried]


def test_an_origin_has_so_many_lsas_and_bytes_and_no_more(site, monkeypatch):
    monkeypatch.setattr(database, "MAX_ORIGIN_BYTES", 20_000)
    for number in range(140):
        site.now += 0.1
        site.send(B, opaque(with_type(f"X{number}")))
    known = [each for each in site.router.database if each.header.key.origin == "D"]
    assert len(known) == wire.MAX_LSAS
    assert site.dropped == {(B, Reason.ROOM): 140 - wire.MAX_LSAS}
    checks = site.checks
    large = saes_of("D", 2, *(f"{number:0200}" for number in range(90)))
    site.send(B, carried(large), opaque(with_type("X0", 2)))
    assert site.dropped[B, Reason.ROOM] == 141 - wire.MAX_LSAS
    assert site.checks == checks + 1, "what there is no room for is not looked at"
    assert still_works(site)


def test_what_all_origins_tell_is_bounded_and_what_is_known_can_be_told_anew(site, monkeypatch):
    monkeypatch.setattr(database, "MAX_BYTES", 60_000)
    bodies = [saes_of(f"d{number}", 1, *(f"{each:0200}" for each in range(40))) for number in range(10)]
    site.send(B, *map(carried, bodies))
    kept = [body for body in bodies if site.router.database.get(body.key) is not None]
    assert 0 < len(kept) < 10
    assert site.dropped == {(B, Reason.ROOM): 10 - len(kept)}
    site.send(B, carried(replace(kept[0], sequence=2)))
    assert site.router.database.get(kept[0].key).header.sequence == 2
    site.send(B, carried(replace(kept[0], sequence=3, saes=(), withdrawn=True)))
    assert acks(site.send(C, carried(bodies[-1]))) == [header_of(bodies[-1])]


def test_the_other_lsas_of_an_update_are_taken():
    site = OneRouter()
    bad = carried(UNREADABLE["noise"], said=UNSIGNED)
    false = carried(saes_of("F"), said=UNSIGNED)
    assert acks(site.tell(B, wire.Update((bad, false, carried(GOOD))))) == [header_of(GOOD)]
    assert site.dropped == {(B, Reason.MALFORMED): 1, (B, Reason.SIGNATURE): 1}


def test_what_cannot_be_taken_does_not_keep_the_link_from_being_told():
    """The neighbour has an LSA that this site can make nothing of: it is asked for twice, and then let be."""
    site = OneRouter()
    later = wire.Header(wire.Key("D", wire.LsaType.SAES, 0), 0, 1, bytes(8))
    site.disconnect(C)
    site.connect(C)
    site.hello(C)
    site.tell(C, wire.Summary((later,), more=False))
    asked = [message for message in site.sent[C] if isinstance(message, wire.Request)]
    assert asked == [wire.Request((later.key,))]
    assert site.phase(C) is Phase.LOADING
    site.run(4.5)
    assert site.phase(C) is Phase.LOADING
    site.run(6)
    assert site.phase(C) is Phase.FULL
    assert len([message for message in site.sent[C] if isinstance(message, wire.Request)]) == 2


def test_what_a_neighbour_does_not_tell_again_it_has_no_more_and_nobody_waits_for_it():
    site = OneRouter()
    site.disconnect(C)
    site.connect(C)
    site.hello(C)
    gone = wire.Header(wire.Key("D", wire.LsaType.SAES, 0), 0, 1, bytes(8))
    site.tell(C, wire.Summary((gone,), more=False))
    assert site.phase(C) is Phase.LOADING
    site.tell(C, wire.Summary((), more=False))
    assert site.phase(C) is Phase.FULL


@pytest.mark.parametrize(
    "said", [UNSIGNED, sign_as("B")(wire.encode_body(GOOD)), sign_as("D")(b"other")], ids=["not", "by B", "other text"]
)
def test_what_its_origin_has_not_signed_is_dropped(site, said):
    assert acks(site.send(B, carried(GOOD, said=said))) == []
    assert site.lines == [(B, Reason.SIGNATURE)]
    assert lsas(site.sent[C]) == []
    assert acks(site.send(C, carried(GOOD))) == [header_of(GOOD)]
    assert still_works(site)


def test_an_lsa_in_anothers_name_ends_the_connection_of_who_sent_it_alone(site):
    with pytest.raises(RemoteProtocolError, match="in the name of C"):
        site.feed(Received(B, wire.Update((carried(GOOD, C),))))
    site.feed(Disconnected(B))
    assert site.phase(C) is Phase.FULL
    assert acks(site.send(C, carried(GOOD))) == [header_of(GOOD)]


# --- replays --------------------------------------------------------------------------------------------------------


def test_old_instances_are_answered_with_the_newest_and_change_nothing(site):
    old = [saes_of("D", number, f"sae:{number}") for number in range(1, 6)]
    newest = saes_of("D", 6, "sae:now")
    site.send(C, carried(newest))
    site.acknowledge(B)
    assert lsas(site.send(B, *map(carried, old))) == [newest], "sent back once while it is on its way"
    assert site.knows("sae:now") == "D"
    assert site.knows("sae:1") is None


def test_a_whole_session_that_is_replayed_changes_nothing(site):
    """B records all that C said, and says it again on a connection of its own, years later."""
    recorded = [
        wire.Hello(heard=True, full=True, dead_ms=4000, digest=bytes(8)),
        wire.Summary((header_of(GOOD),), more=False),
        *(wire.Update((carried(saes_of("D", number, f"sae:{number}")),)) for number in range(1, 4)),
    ]
    site.send(C, *(carried(saes_of("D", number, f"sae:{number}")) for number in range(1, 4)))
    site.send(C, carried(saes_of("D", 4, "sae:now")))
    site.acknowledge(B, C)
    site.disconnect(B)
    site.connect(B)
    site.tell(B, *recorded)
    assert (site.knows("sae:now"), site.knows("sae:3")) == ("D", None)
    site.run(200)  # D is silent: what it said has passed its lifetime
    assert site.knows("sae:now") is None
    site.tell(B, *recorded)
    assert site.knows("sae:3") is None
    assert all(body.source.qks == A for body in lsas(site.sent[C]))


def test_old_instances_by_the_thousand_do_not_keep_the_newest_out():
    """This site was restarted and knows nothing; B kept all that D has ever signed, and sends it in order."""
    site = OneRouter()
    number = 1
    for _ in range(100):
        site.now += 0.01
        site.send(B, *(carried(saes_of("D", each)) for each in range(number, number + 20)))
        number += 20
    assert site.dropped[B, Reason.RATE] > 1000
    newest = saes_of("D", 10**6, "sae:now")
    assert acks(site.send(C, carried(newest))) == [header_of(newest)]


# --- time -----------------------------------------------------------------------------------------------------------


def test_timestamps_years_apart_decide_nothing(site):
    future = replace(saes_of("D", 1, "sae:old"), timestamp=2**62)
    past = replace(saes_of("D", 2, "sae:new"), timestamp=0)
    site.send(B, carried(future), carried(past))
    assert site.knows("sae:new") == "D"
    assert site.knows("sae:old") is None
    assert sum(site.dropped.values()) == 0


def test_who_makes_an_lsa_older_than_it_is_does_not_have_it_forgotten(site):
    """B is first, and says that it is about to pass its lifetime; C says the truth a moment later."""
    site.send(B, carried(GOOD, age_ms=89_900))
    site.sent[B].clear()
    site.now += 0.05
    assert acks(site.send(C, carried(GOOD, age_ms=20))) == [], "the copy that C was sent stands for an Ack"
    assert lsas(site.sent[B]) == [GOOD], "and whoever was told the wrong age is told the right one"
    site.run(80)
    assert site.knows("sae:d") == "D"
    site.run(15)
    assert site.knows("sae:d") is None


def test_who_made_an_lsa_pass_its_lifetime_before_is_put_right(site):
    site.send(B, carried(GOOD, age_ms=89_990))
    site.now += 0.05
    site.feed(Tick())
    assert site.knows("sae:d") is None
    site.now += 0.05
    false = carried(GOOD, said=UNSIGNED)
    site.send(C, false)
    assert site.knows("sae:d") is None, "it is signed, or it is not taken"
    assert acks(site.send(C, carried(GOOD, age_ms=200))) == [header_of(GOOD)]
    assert site.knows("sae:d") == "D"


def test_nobody_makes_an_lsa_live_longer_where_it_is_known(site):
    site.send(C, carried(GOOD))
    for _ in range(89):
        site.run(1)
        site.send(B, carried(GOOD))
    assert site.knows("sae:d") == "D"
    site.run(2)
    assert site.knows("sae:d") is None
    site.send(B, carried(GOOD))
    assert site.knows("sae:d") is None


def test_what_comes_with_its_lifetime_passed_is_dropped(site):
    site.send(B, carried(GOOD, age_ms=90_000))
    assert site.lines == [(B, Reason.EXPIRED)]
    assert site.knows("sae:d") is None
    assert acks(site.send(C, carried(GOOD))) == [header_of(GOOD)]


# --- versions -------------------------------------------------------------------------------------------------------


def own(sequence, generation=0):
    return replace(saes_of(A, sequence, "sae:stolen"), generation=generation)


def test_a_jump_of_the_sequence_with_the_sites_own_key_is_outdone(site):
    site.now += 10
    site.send(B, carried(own(wire.MAX_SEQUENCE, 7)))
    (said,) = lsas(site.sent[C])
    assert (said.generation, said.sequence) == (8, 1)
    assert [sae.sae for sae in said.saes] == ["sae:a"]


def test_a_jump_that_the_site_has_not_signed_is_not_answered(site):
    site.now += 10
    site.send(B, carried(own(wire.MAX_SEQUENCE, 7), said=UNSIGNED))
    assert lsas(site.sent[C]) == []
    assert site.dropped == {(B, Reason.SIGNATURE): 1}


def test_of_two_former_lives_the_higher_is_outdone(site):
    site.feed(SaesAtHome({SaeId("sae:b"): None}))  # told at once: now the hold time lasts
    site.send(B, carried(own(50)))
    site.send(B, carried(own(900)))
    site.send(B, carried(own(60)))
    site.run(1)
    assert max(body.sequence for body in lsas(site.sent[C])) == 901


def test_after_the_last_version_a_site_is_silent_in_that_lsa_and_works_on(site):
    """Who has a site's key can have it say nothing more of one LSA; but no connection breaks, and the others are."""
    site.now += 10
    site.hello(B)
    site.hello(C)
    last = own(LAST[1], LAST[0])
    for _ in range(3):
        assert acks(site.send(B, carried(last))) == [header_of(last)]
    assert set(site.lines) == {(B, Reason.LAST)}
    assert lsas(site.sent[C]) == []
    site.run(100)
    told = lsas(site.sent[C])
    assert {body.type for body in told} == {wire.LsaType.LINKS}
    for message in site.sent[B] + site.sent[C]:
        assert wire.decode(wire.encode([message])) == (message,)
    assert still_works(site)

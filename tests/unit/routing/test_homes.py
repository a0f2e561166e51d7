"""Which homes count: statements are looked at once, at a bounded rate, each origin in turn, and none is forgotten."""

from __future__ import annotations

import msgspec
import pytest

from qss.core.routing.homes import ENDS_S, FORGED_BURST, FORGED_PER_SECOND, LOOKS_BURST, LOOKS_PER_SECOND, Homes
from qss.model.identifiers import QksId, SaeId
from qss.simulation.routing import has_stated, state_home
from qss.wire import routing as wire
from qss.wire.home_statement import decode_statement, encode_statement

HERE, A, B = QksId("here"), QksId("A"), QksId("B")
ALICE = SaeId("sae:alice")
START = 1_700_000_000.0


def key(origin, part=0):
    return wire.Key(origin, wire.LsaType.SAES, part)


def states(origin, *saes, expires=4_000_000_000):
    return [wire.SaeState(sae, state_home(SaeId(sae), origin, expires)) for sae in saes]


def forged(*saes, number=0):
    """Return statements that look like true ones of A, and are not signed."""
    made = []
    for sae in saes:
        signed, _ = decode_statement(state_home(SaeId(sae), A, 3_000_000_000 + number))
        made.append(wire.SaeState(sae, encode_statement(msgspec.structs.replace(signed, signature=b"made up"))))
    return made


class Site:
    """Homes, clocks, and how many signatures were looked at."""

    def __init__(self):
        self.now, self.wall, self.looks = 0.0, START, 0
        self.core = Homes(HERE, self._stated)
        self.core.tick(self.now, self.wall)

    def _stated(self, signed):
        self.looks += 1
        return has_stated(signed)

    def tell(self, key, told):
        self.core.tell(key, told, self.now, self.wall)
        return self.homes

    def run(self, seconds, step_s=0.05):
        for _ in range(round(seconds / step_s)):
            self.now, self.wall = self.now + step_s, self.wall + step_s
            self.core.tick(self.now, self.wall)
        return self.homes

    @property
    def homes(self):
        return dict(self.core.homes())


@pytest.fixture
def site():
    return Site()


def names(number, prefix="sae"):
    return [f"{prefix}:{each:05}" for each in range(number)]


# --- what counts ------------------------------------------------------------------------------------------------------


def test_a_home_counts_with_a_statement_and_without_one_at_this_site_alone(site):
    assert site.tell(key(A), [*states(A, ALICE), wire.SaeState("sae:bob", None)]) == {ALICE: A}
    assert site.tell(key(HERE), [wire.SaeState("sae:carol", None)]) == {ALICE: A, "sae:carol": HERE}
    assert site.tell(key(A), []) == {"sae:carol": HERE}


def test_an_sae_with_two_homes_has_none_until_one_of_them_is_gone(site):
    site.tell(key(A), states(A, ALICE))
    assert site.tell(key(B), states(B, ALICE)) == {}
    assert site.tell(key(A, 1), states(A, ALICE)) == {}
    assert site.tell(key(A), []) == {}, "another part of it still says so"
    assert site.tell(key(A, 1), []) == {ALICE: B}


def test_what_this_site_says_of_an_sae_counts_alone(site):
    site.tell(key(A), states(A, ALICE))
    assert site.tell(key(HERE), [wire.SaeState(ALICE, None)]) == {ALICE: HERE}
    assert site.tell(key(HERE), []) == {ALICE: A}


@pytest.mark.parametrize(
    "told",
    [
        wire.SaeState(ALICE, b""),
        wire.SaeState(ALICE, b"noise"),
        *states(B, ALICE),
        *states(A, ALICE, expires=int(START)),
    ],
)
def test_what_no_signature_could_make_count_is_told_by_its_text(site, told):
    assert site.tell(key(A), [wire.SaeState(ALICE, told.statement)]) == {}
    assert site.tell(key(B), [wire.SaeState("sae:bob", told.statement)]) == {}
    assert site.looks == 0


def test_what_was_given_away_stays_as_it_was(site):
    site.tell(key(A), states(A, ALICE))
    before, version = site.core.homes(), site.core.version
    site.tell(key(A), [])
    assert before == {ALICE: A}
    assert site.core.version != version
    assert site.core.homes() is site.core.homes()


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_statement_is_looked_at_once_while_its_origin_tells_it(site):
    told = [*states(A, *names(50)), *forged("sae:x", "sae:y")]
    for number in range(20):
        site.tell(key(A), told[number % 2 :])
    assert site.looks == 52 + 9, "what was told no more and is told again is looked at again"


def test_a_change_costs_its_own_lsa_and_not_all_that_others_say(site):
    for part in range(40):
        site.tell(key(A, part), states(A, *names(200, f"sae:{part}")))
    site.run(5)
    before = {part: site.core._claims[key(A, part)] for part in range(1, 40)}
    looks, homes = site.looks, site.homes
    assert len(homes) == 8000
    assert site.tell(key(A), states(A, *names(199, "sae:0"))) == {sae: A for sae in homes if sae != "sae:0:00199"}
    assert site.looks == looks
    assert all(site.core._claims[key(A, part)] is claims for part, claims in before.items())


def test_saes_without_a_statement_are_not_kept(site):
    site.tell(key(A), [wire.SaeState(sae, None) for sae in names(4000)])
    assert site.core._claims == {}
    assert site.core._unseen == {}


def test_so_many_are_looked_at_at_once_and_the_others_later_in_order(site):
    told = names(190)
    for part in range(53):
        site.tell(key(A, part), states(A, *(f"{part:02}:{sae}" for sae in told)))
    assert site.looks == LOOKS_BURST
    assert sorted(site.homes) == sorted(f"{part:02}:{sae}" for part in range(53) for sae in told)[:LOOKS_BURST]
    site.run(1)
    assert site.looks <= LOOKS_BURST + LOOKS_PER_SECOND * 1.05
    assert len(site.run(3.1)) == 53 * 190, "ten thousand SAEs of an honest site"


def test_whoever_tells_heaps_waits_behind_himself_alone(site):
    """Garbage that takes seconds, told before an honest site's first word and again and again after it."""
    for part in range(64):
        site.tell(key(A, part), [wire.SaeState(sae, b"noise") for sae in names(4000, f"{part}")])
    site.tell(key(B), states(B, *names(64)))
    site.run(0.05)
    assert len(site.homes) == LOOKS_PER_SECOND * 0.05 / 2
    for number in range(10):
        site.tell(key(A, number), [wire.SaeState(sae, b"noise%d" % number) for sae in names(4000, f"{number}")])
    assert len(site.run(0.1)) == 64


def test_what_waits_and_is_told_no_more_waits_no_more(site):
    for part in range(10):
        site.tell(key(A, part), forged(*names(200)))
    for part in range(10):
        site.tell(key(A, part), [])
    assert site.core._unseen == {}
    assert site.core._claims == {}


# --- forgeries --------------------------------------------------------------------------------------------------------


def test_what_is_beyond_the_forgeries_of_a_minute_is_looked_at_after_it(site):
    """An origin's own fault costs it a minute and not, as long as it lives, the homes that it tells truly."""
    site.tell(key(A), [*forged(*names(FORGED_BURST + 10)), *states(A, ALICE)])
    assert site.looks == FORGED_BURST
    assert site.tell(key(B), states(B, "sae:bob")) in ({}, {"sae:bob": B})
    assert site.run(0.1) == {"sae:bob": B}, "others do not suffer"
    assert site.run(8) == {ALICE: A, "sae:bob": B}
    for number in range(100):
        site.tell(key(A), forged(*names(100), number=number))
        site.run(0.6)
    assert site.looks <= 2 + FORGED_BURST + FORGED_PER_SECOND * 70


def test_another_signature_of_what_is_stated_already_is_not_looked_at(site):
    """Of an ECDSA signature anybody can make a second one, (r, n - s)."""
    (told,) = states(A, ALICE)
    site.tell(key(A), [told])
    signed, _ = decode_statement(told.statement)
    again = encode_statement(msgspec.structs.replace(signed, signature=b"(r, n - s)"))
    assert site.tell(key(A), [wire.SaeState(ALICE, again)]) == {ALICE: A}
    assert site.looks == 1


# --- ends -------------------------------------------------------------------------------------------------------------


def test_a_home_counts_until_its_statement_ends(site):
    site.tell(key(A), states(A, ALICE, "sae:bob", expires=int(START) + 20))
    site.tell(key(A, 1), states(A, "sae:carol", expires=int(START) + 40))
    assert len(site.run(19.9)) == 3
    assert site.run(ENDS_S + 0.1) == {"sae:carol": A}
    assert site.run(20) == {}
    assert site.looks == 3


def test_ends_are_kept_however_much_is_told_meanwhile(site):
    site.tell(key(A), states(A, ALICE, expires=int(START) + 30))
    for part in range(1, 60):
        site.tell(key(A, part), states(A, *names(1500, f"{part}")))
        site.run(0.2)
    assert ALICE in site.homes
    site.run(30)
    assert ALICE not in site.homes


def test_another_statement_of_the_same_home_takes_its_place_without_a_gap(site):
    site.tell(key(A), states(A, *names(LOOKS_BURST)))
    renewed = states(A, *names(LOOKS_BURST), expires=4_000_000_001)
    assert len(site.tell(key(A), renewed)) == LOOKS_BURST, "they wait to be looked at, and count meanwhile"
    site.run(0.2)
    assert site.looks == 2 * LOOKS_BURST
    assert len(site.homes) == LOOKS_BURST
    assert len(site.tell(key(A), forged(*names(LOOKS_BURST)))) < LOOKS_BURST


def test_a_clock_that_was_put_forward_and_back_has_lost_no_home(site):
    site.tell(key(A), states(A, ALICE, expires=int(START) + 1000))
    site.wall += 5000
    assert site.run(0.1) == {}
    site.tell(key(B), states(B, "sae:bob", expires=int(START) + 2000))
    assert site.run(0.1) == {}
    site.wall -= 5000
    assert site.run(0.1) == {ALICE: A, "sae:bob": B}
    assert site.looks == 2
    site.wall -= 5000
    assert site.run(0.1) == {ALICE: A, "sae:bob": B}

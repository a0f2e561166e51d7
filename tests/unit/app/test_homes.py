"""Statements of homes: whose they are, for whom, until when, and how little somebody who makes them up can cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from qss.app import homes as module
from qss.app.homes import FORGERIES, FORGERIES_S, Homes, read_statement, state_home
from qss.cli.main import main
from qss.model.errors import BadRequest, PkiError, Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.pki.keys import PrivateKey
from qss.pki.statements import AuthorityJudge
from qss.wire.home_statement import decode_statement, encode_statement
from support.homes import END, SAE, SITE, authority_with, by_site, forged, signed_by, stated
from support.pki import Pki

B, BOB = QksId("B"), SaeId("sae:bob")
START = 1_700_000_000.0


class Clock:
    """A wall clock that goes where it is put."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


class CountingJudge(AuthorityJudge):
    """Counts the signatures that it looks at."""

    looked_at = 0

    def check(self, text: bytes, algorithm: str, signature: bytes) -> None:
        CountingJudge.looked_at += 1
        super().check(text, algorithm, signature)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("homes") / "pki")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def homes(pki: Pki, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Homes:
    monkeypatch.setattr(module, "AuthorityJudge", CountingJudge)
    CountingJudge.looked_at = 0
    return Homes(pki.authority, clock)


# --- what the authority states --------------------------------------------------------------------------------------


def test_what_the_authority_states_counts(pki, homes) -> None:
    statement = stated(pki)
    assert homes.counts(SAE, SITE, statement)
    assert homes.check(statement, SAE, SITE).expires == END


@pytest.mark.parametrize(("sae", "site"), [(BOB, SITE), (SAE, B), (BOB, B)])
def test_it_says_nothing_of_another_sae_or_site(pki, homes, sae, site) -> None:
    statement = stated(pki)
    assert not homes.counts(sae, site, statement)
    assert homes.counts(SAE, SITE, statement)
    with pytest.raises(Unauthorised, match=f"is that sae:alice is at home at A, not {sae} at {site}"):
        homes.check(statement, sae, site)


def test_without_a_statement_nothing_counts(homes) -> None:
    assert not homes.counts(SAE, SITE, None)
    assert not homes.counts(SAE, SITE, b"")
    with pytest.raises(BadRequest, match="this is no statement"):
        homes.check(b"", SAE, SITE)


def test_nobody_else_states_anything(pki, homes, tmp_path) -> None:
    other = authority_with(ec.generate_private_key(ec.SECP256R1()), tmp_path / "other.pem")
    whole = decode_statement(stated(pki))[0]
    of_bob = decode_statement(stated(pki, BOB))[0]
    for statement in (
        by_site(pki.site("A"), SITE),
        signed_by(other),
        forged(1),
        encode_statement(type(whole)(whole.body, "ed25519", whole.signature)),
        encode_statement(type(whole)(whole.body, whole.algorithm, of_bob.signature)),
        encode_statement(type(whole)(whole.body, whole.algorithm, whole.signature[:-1])),
    ):
        assert not homes.counts(SAE, SITE, statement)
        with pytest.raises(Unauthorised, match="the network's authority has not signed this"):
            homes.check(statement, SAE, SITE)


@pytest.mark.parametrize(
    ("private", "algorithm"),
    [
        (lambda: ec.generate_private_key(ec.SECP521R1()), "ecdsa-sha256"),
        (ed25519.Ed25519PrivateKey.generate, "ed25519"),
        (lambda: rsa.generate_private_key(65537, 2048), "rsa-pss-sha256"),
    ],
)
def test_authorities_with_keys_of_other_kinds_and_several_in_one_file(
    pki: Pki, tmp_path: Path, private: Callable[[], PrivateKey], algorithm: str
) -> None:
    own = authority_with(private(), tmp_path / "own.pem")
    statement = signed_by(own)
    assert decode_statement(statement)[0].algorithm == algorithm
    assert Homes(tmp_path / "own.pem").counts(SAE, SITE, statement)
    assert not Homes(pki.authority).counts(SAE, SITE, statement)
    (tmp_path / "both.pem").write_bytes(pki.authority.read_bytes() + (tmp_path / "own.pem").read_bytes())
    both = Homes(tmp_path / "both.pem")
    assert both.counts(SAE, SITE, statement)
    assert both.counts(SAE, SITE, stated(pki))


# --- until when -----------------------------------------------------------------------------------------------------


def test_a_statement_counts_until_it_expires_wherever_the_clock_goes(pki, homes, clock) -> None:
    statement = stated(pki, expires=int(START) + 10)
    for now, counts in ((0, True), (9.5, True), (10, False), (5000, False), (3, True), (-5000, True), (10.5, False)):
        clock.now = START + now
        assert homes.counts(SAE, SITE, statement) is counts
        assert homes.is_over(homes.check(statement, SAE, SITE)) is not counts
    assert CountingJudge.looked_at == 1 + 7  # of `counts` one


def test_the_next_end_is_that_of_the_statement_that_expires_first(pki, homes, clock) -> None:
    assert homes.next_end() is None
    for sae, end in ((SAE, 20), (BOB, 10)):
        homes.counts(sae, SITE, stated(pki, sae, expires=int(START) + end))
    homes.counts(SAE, SITE, forged(1))
    assert homes.next_end() == START + 10
    clock.now = START + 10
    assert homes.next_end() == START + 10  # it ended since this was last asked
    assert homes.next_end() == START + 20
    clock.now = START + 30
    assert homes.next_end() == START + 20
    assert homes.next_end() is None


def test_a_statement_that_comes_and_ends_between_two_looks_is_not_passed_over(pki, homes, clock) -> None:
    assert homes.next_end() is None
    clock.now = START + 5
    homes.counts(SAE, SITE, stated(pki, expires=int(START) + 20))
    clock.now = START + 30
    assert homes.next_end() == START + 20


# --- what somebody can cost who makes them up -----------------------------------------------------------------------


def test_a_statement_is_looked_at_once_whatever_came_of_it(pki, homes) -> None:
    good, bad = stated(pki), forged(1)
    for _ in range(3):
        assert homes.counts(SAE, SITE, good)
        assert not homes.counts(SAE, SITE, bad)
        assert not homes.counts(SAE, B, good)
    assert CountingJudge.looked_at == 2


def test_of_one_origin_so_many_forgeries_are_looked_at_and_others_do_not_suffer(pki, homes, clock) -> None:
    for number in range(FORGERIES + 50):
        assert not homes.counts(SAE, SITE, forged(number))
    assert CountingJudge.looked_at == FORGERIES
    assert not homes.counts(SAE, SITE, stated(pki))  # its own fault
    assert homes.counts(SAE, B, stated(pki, site=B))
    assert CountingJudge.looked_at == FORGERIES + 1

    clock.now += FORGERIES_S + 0.5
    assert homes.counts(SAE, SITE, stated(pki))
    for number in range(FORGERIES + 50):
        homes.counts(SAE, SITE, forged(1000 + number))
    assert CountingJudge.looked_at == 2 * FORGERIES + 2


def test_what_is_good_does_not_count_as_forged(pki, homes) -> None:
    for number in range(FORGERIES + 1):
        assert homes.counts(SAE, SITE, stated(pki, expires=END + number))


def test_a_clock_that_is_put_back_does_not_shut_an_origin_out(pki, homes, clock) -> None:
    for number in range(FORGERIES):
        homes.counts(SAE, SITE, forged(number))
    clock.now -= 100_000
    assert homes.counts(SAE, SITE, stated(pki))


def test_what_is_remembered_is_bounded_and_what_was_forgotten_is_looked_at_again(pki, homes, monkeypatch) -> None:
    monkeypatch.setattr(module, "_MAX_KNOWN", 3)
    statements = {end: stated(pki, expires=END + end) for end in range(4)}
    for statement in statements.values():
        assert homes.counts(SAE, SITE, statement)
    assert len(homes._known) == 1
    assert homes.counts(SAE, SITE, statements[0])
    assert CountingJudge.looked_at == 5


# --- files ----------------------------------------------------------------------------------------------------------


def home(pki: Pki, *arguments: str):
    return CliRunner().invoke(main, ["pki", "home", *arguments, "--pki", str(pki.folder.root)])


def test_the_command_states_a_home_once(pki, clock) -> None:
    made = home(pki, "sae:carol", "C", "--days", "2")
    file = pki.folder.root / "saes" / "sae_carol.home"
    assert (made.exit_code, made.stdout) == (0, f"wrote {file}\n")
    assert file.stat().st_mode & 0o777 == 0o644
    found = Homes(pki.authority).check(read_statement(file), SaeId("sae:carol"), QksId("C"))
    clock.now = found.expires - 2 * 86_400 + 60
    assert not Homes(pki.authority, clock).is_over(found)
    before = file.read_bytes()
    again = home(pki, "sae:carol", "B")
    assert again.exit_code == 1
    assert "is there already and is not overwritten: move it away" in again.stderr
    assert file.read_bytes() == before


def test_saes_without_a_scheme_have_statements_of_their_own(pki) -> None:
    files = {state_home(pki.folder, SaeId(sae), SITE, 1) for sae in ("a_b", "a:b", "a_b:", "_", "../x", "A")}
    assert len(files) == 6
    assert {file.parent for file in files} == {pki.folder.root / "saes"}


def test_without_an_authority_nothing_is_stated(tmp_path) -> None:
    refused = CliRunner().invoke(main, ["pki", "home", "sae:carol", "C", "--pki", str(tmp_path / "none")])
    assert refused.exit_code == 1
    assert "there is no authority in" in refused.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_statement_is_named(tmp_path, content) -> None:
    file = tmp_path / "some.home"
    with pytest.raises(PkiError, match=rf"{file} cannot be read \(No such file or directory\)"):
        read_statement(file)
    file.write_bytes(content)
    with pytest.raises(PkiError, match=f"^{file}: this is no statement of an SAE's home"):
        read_statement(file)

"""Statements of homes: whose they are, for whom, and until when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from qss.app.homes import Homes, read_statement, state_home
from qss.cli.main import main
from qss.model.errors import BadRequest, PkiError, Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.pki.keys import PrivateKey
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


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("homes") / "pki")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def homes(pki: Pki, clock: Clock) -> Homes:
    return Homes(pki.authority, clock)


# --- what the authority states --------------------------------------------------------------------------------------


def test_what_the_authority_states_holds(pki, homes) -> None:
    statement = stated(pki)
    assert homes.are_stated(decode_statement(statement)[0])
    assert homes.hold(statement, SAE, SITE)
    assert homes.check(statement, SAE, SITE).expires == END


@pytest.mark.parametrize(("sae", "site"), [(BOB, SITE), (SAE, B), (BOB, B)])
def test_it_says_nothing_of_another_sae_or_site(pki, homes, sae, site) -> None:
    statement = stated(pki)
    assert not homes.hold(statement, sae, site)
    assert homes.hold(statement, SAE, SITE)
    with pytest.raises(Unauthorised, match=f"is that sae:alice is at home at A, not {sae} at {site}"):
        homes.check(statement, sae, site)


def test_without_a_statement_nothing_holds(homes) -> None:
    assert not homes.hold(b"", SAE, SITE)
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
        assert not homes.are_stated(decode_statement(statement)[0])
        assert not homes.hold(statement, SAE, SITE)
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
    assert Homes(tmp_path / "own.pem").hold(statement, SAE, SITE)
    assert not Homes(pki.authority).hold(statement, SAE, SITE)
    (tmp_path / "both.pem").write_bytes(pki.authority.read_bytes() + (tmp_path / "own.pem").read_bytes())
    both = Homes(tmp_path / "both.pem")
    assert both.hold(statement, SAE, SITE)
    assert both.hold(stated(pki), SAE, SITE)


# --- until when -----------------------------------------------------------------------------------------------------


def test_a_statement_holds_until_it_expires_wherever_the_clock_goes(pki, homes, clock) -> None:
    statement = stated(pki, expires=int(START) + 10)
    for now, counts in ((0, True), (9.5, True), (10, False), (5000, False), (3, True), (-5000, True), (10.5, False)):
        clock.now = START + now
        assert homes.hold(statement, SAE, SITE) is counts
        assert homes.is_over(homes.check(statement, SAE, SITE)) is not counts


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

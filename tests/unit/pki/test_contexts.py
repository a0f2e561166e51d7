"""TLS contexts: what they demand of the other end, and what is wrong with a file."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from qss.model.errors import PkiError
from qss.model.identifiers import QkdmId, QksId
from qss.pki import contexts, files
from qss.pki.folder import Pair
from qss.pki.keys import new_private_key, private_key_pem
from support.pki import Pki, application_context


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("contexts") / "pki")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory) -> Pki:
    return Pki(tmp_path_factory.mktemp("contexts") / "stranger")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str | None = None):
    """Run a handshake in memory; return both ends, or raise what the end that refuses raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert not waiting
    return ends


def test_sites_speak_tls_1_3(pki):
    client, server = handshake(pki.server_context("A"), pki.client_context("B"))
    assert client.version() == server.version() == "TLSv1.3"
    assert ("URI", "qks:B") in server.getpeercert()["subjectAltName"]
    assert ("URI", "qks:A") in client.getpeercert()["subjectAltName"]


def test_no_session_is_kept(pki):
    client, server = handshake(pki.server_context("A"), pki.client_context("B"))
    server.write(b"x")
    assert client.read() == b"x"
    assert not client.session.has_ticket


def test_a_client_without_certificate_is_refused(pki):
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(pki.server_context("A"), ssl.create_default_context(cafile=pki.authority), "localhost")


def test_a_probe_may_come_without_certificate_but_not_with_a_foreign_one(pki, stranger):
    pair = pki.site("A")
    server = contexts.probe_context(pair.certificate, pair.key, pki.authority)
    _, at_server = handshake(server, ssl.create_default_context(cafile=pki.authority), "localhost")
    assert not at_server.getpeercert()
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(server, application_context(stranger.sae("sae:eve"), pki.authority), "localhost")


def test_another_authoritys_sites_are_refused_both_ways(pki, stranger):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(pki.server_context("A"), stranger.client_context("B"))
    impostor = stranger.site("B")
    trusting = contexts.client_context(impostor.certificate, impostor.key, pki.authority)
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(pki.server_context("A"), trusting)


def test_an_application_cannot_be_a_server(pki):
    pair = pki.sae("sae:alice")
    server = contexts.server_context(pair.certificate, pair.key, pki.authority)
    with pytest.raises(ssl.SSLCertVerificationError, match=r"unsuitable certificate purpose|unsupported certificate"):
        handshake(server, pki.client_context("B"))


def test_an_expired_application_is_refused(pki):
    with pytest.raises(ssl.SSLError, match="certificate has expired"):
        handshake(
            pki.northbound_context("A"), application_context(pki.expired_sae("sae:old"), pki.authority), "localhost"
        )


def only_tls_1_2(pki: Pki) -> ssl.SSLContext:
    context = pki.sae_client_context("sae:vendor")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def application(pki: Pki, sae: str = "sae:alice") -> ssl.SSLContext:
    pair = pki.sae(sae)
    return contexts.application_context(pair.certificate, pair.key, pki.authority)


def test_an_application_compares_host_names(pki):
    client, server = handshake(pki.northbound_context("A"), application(pki), "localhost")
    assert client.version() == "TLSv1.3"
    assert ("URI", "sae:alice") in server.getpeercert()["subjectAltName"]
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(pki.northbound_context("A"), application(pki), "elsewhere.example.org")


def test_an_application_speaks_tls_1_2_with_forward_secrecy_only(pki):
    pair = pki.site("A")
    old = contexts.northbound_context(pair.certificate, pair.key, pki.authority, ssl.TLSVersion.TLSv1_2)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    client, _ = handshake(old, application(pki), "localhost")
    assert client.version() == "TLSv1.2"
    assert client.cipher()[0].startswith("ECDHE-")
    old.set_ciphers("ECDHE-ECDSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        handshake(old, application(pki), "localhost")


def test_an_application_trusts_its_authority_only(pki, stranger):
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(stranger.northbound_context("A"), application(pki), "localhost")


def test_northbound_can_be_opened_to_tls_1_2(pki):
    pair = pki.site("A")
    opened = contexts.northbound_context(pair.certificate, pair.key, pki.authority, ssl.TLSVersion.TLSv1_2)
    client, _ = handshake(opened, only_tls_1_2(pki), "localhost")
    assert client.version() == "TLSv1.2"
    assert client.cipher()[0].startswith("ECDHE-")
    assert client.compression() is None
    for closed in (pki.northbound_context("A"), pki.server_context("A")):
        with pytest.raises(ssl.SSLError):
            handshake(closed, only_tls_1_2(pki), "localhost")


def test_northbound_cannot_be_opened_further(pki):
    pair = pki.site("A")
    with pytest.raises(PkiError, match=r"use TLS 1\.2 or 1\.3"):
        contexts.northbound_context(pair.certificate, pair.key, pki.authority, ssl.TLSVersion.TLSv1_1)


def test_a_bundle_of_authorities(pki, stranger, tmp_path):
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(stranger.authority.read_bytes() + b"# a comment\n" + pki.authority.read_bytes())
    pair = pki.site("A")
    server = contexts.server_context(pair.certificate, pair.key, bundle)
    friend = stranger.site("B")
    handshake(server, contexts.client_context(friend.certificate, friend.key, pki.authority))
    handshake(server, pki.client_context("B"))


def refused(pair: Pair, authority: Path) -> str:
    with pytest.raises(PkiError) as caught:
        contexts.server_context(pair.certificate, pair.key, authority)
    return str(caught.value)


def test_files_that_are_not_there(pki, tmp_path):
    pair = pki.site("A")
    gone = tmp_path / "gone.pem"
    for case in (Pair(gone, pair.key), Pair(pair.certificate, gone)):
        assert refused(case, pki.authority).startswith(f"{gone} cannot be read (No such file or directory)")
    assert str(gone) in refused(pair, gone)


def test_files_that_are_something_else(pki, tmp_path):
    pair = pki.site("A")
    junk = tmp_path / "junk.pem"
    junk.touch(0o600)
    for content in (b"", b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        junk.write_bytes(content)
        assert f"{junk}: no certificate in PEM form" in refused(Pair(junk, pair.key), pki.authority)
        assert f"{junk}: no certificate in PEM form" in refused(pair, junk)
        assert f"{junk}: no private key in PEM form" in refused(Pair(pair.certificate, junk), pki.authority)


def test_a_key_of_another_certificate(pki, tmp_path):
    other = tmp_path / "other.key"
    other.touch(0o600)
    other.write_bytes(private_key_pem(new_private_key()))
    pair = pki.site("A")
    message = refused(Pair(pair.certificate, other), pki.authority)
    assert f"{other} is not the key of {pair.certificate}" in message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610])
def test_a_key_that_others_can_use(pki, tmp_path, mode):
    pair = pki.site("A")
    opened = tmp_path / "opened.key"
    opened.write_bytes(pair.key.read_bytes())
    opened.chmod(mode)
    message = refused(Pair(pair.certificate, opened), pki.authority)
    assert f"the private key {opened} can be used by others than its owner (mode 0{mode:o})" in message
    assert f"`chmod 600 {opened}`" in message
    with pytest.raises(PkiError, match="can be used by others"):
        contexts.application_context(pair.certificate, opened, pki.authority)


@pytest.mark.parametrize(
    ("owner", "us", "mode", "fine"),
    [
        (0, 1000, 0o640, True),  # an administrator hands it to the node's group
        (0, 1000, 0o440, True),  # a systemd credential
        (0, 1000, 0o600, True),
        (0, 1000, 0o660, False),
        (0, 1000, 0o644, False),
        (1000, 1000, 0o400, True),
        (1000, 1000, 0o640, False),
        (0, 0, 0o640, False),
    ],
)
def test_a_group_may_read_what_root_owns(monkeypatch, tmp_path, owner, us, mode, fine):
    key = tmp_path / "some.key"
    key.write_bytes(b"key")
    monkeypatch.setattr(os, "geteuid", lambda: us)
    monkeypatch.setattr(os, "fstat", lambda _: os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 3, 0, 0, 0)))
    if fine:
        assert files.read_private(key) == b"key"
        return
    with pytest.raises(PkiError) as caught:
        files.read_private(key)
    assert f"`chmod {'640' if owner == 0 != us else '600'} {key}`" in str(caught.value)


def test_a_certificate_of_another_site(pki):
    made = x509.load_pem_x509_certificate(pki.site("B").certificate.read_bytes())
    assert contexts.check_site(pki.site("B").certificate, QksId("B")) == made.not_valid_after_utc
    for site in ("A", "b"):
        with pytest.raises(PkiError) as caught:
            contexts.check_site(pki.site("B").certificate, QksId(site))
        assert str(caught.value) == (
            f"{pki.site('B').certificate} is a certificate of site B, not {site}; "
            f"give one whose URI is qks:{site}, such as `qss pki site {site}` makes"
        )


def test_a_certificate_that_is_no_sites(pki):
    for pair in (pki.sae("sae:alice"), pki.nameless(), pki.folder.authority):
        with pytest.raises(PkiError, match=r"is no site's certificate .*names 0 sites.*give one whose URI is qks:A"):
            contexts.check_site(pair.certificate, QksId("A"))


def test_a_modules_certificate_is_its_own_and_no_sites(pki):
    made = x509.load_pem_x509_certificate(pki.module("A/1").certificate.read_bytes())
    assert contexts.check_module(pki.module("A/1").certificate, QkdmId("A/1")) == made.not_valid_after_utc
    with pytest.raises(PkiError, match="is a certificate of module A/1, not A/2; give one whose URI is qkdm:A/2"):
        contexts.check_module(pki.module("A/1").certificate, QkdmId("A/2"))
    with pytest.raises(PkiError, match=r"is no module's certificate .*`qss pki module A/1` makes"):
        contexts.check_module(pki.site("A").certificate, QkdmId("A/1"))
    with pytest.raises(PkiError, match="is no site's certificate"):
        contexts.check_site(pki.module("A/1").certificate, QksId("A"))


def test_an_encrypted_key_does_not_ask_at_the_terminal(pki, tmp_path):
    locked = tmp_path / "locked.key"
    locked.touch(0o600)
    encryption = BestAvailableEncryption(b"passphrase")
    locked.write_bytes(new_private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    message = refused(Pair(pki.site("A").certificate, locked), pki.authority)
    assert f"{locked}: the private key is encrypted" in message


def test_an_expired_certificate(pki):
    pair = pki.expired_site("A")
    assert f"{pair.certificate}: the certificate expired on " in refused(pair, pki.authority)


def test_an_expired_authority(pki):
    expired = pki.expired_site("B").certificate
    assert f"{expired}: every authority in it has expired" in refused(pki.site("A"), expired)

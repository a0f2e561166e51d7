"""Names: an application never passes for a site, and no name leads astray."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID
from hypothesis import assume, given
from hypothesis import strategies as st

from qss.model.certificates import PeerCertificate, module_of, name_in, site_of, titled
from qss.model.errors import PkiError, Unauthorised
from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.pki.folder import sae_file_stem
from qss.pki.keys import new_private_key
from qss.pki.names import common_name, module_subject, names_in, peer_certificate, sae_subject, site_subject

SAE_IDS = st.builds(
    lambda scheme, rest: SaeId(f"{scheme}:{rest}"),
    st.from_regex(r"[a-z][a-z0-9+.-]{0,8}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9._~:/?@!$&'()*+,;=-]{1,240}", fullmatch=True),
)


@pytest.mark.parametrize(
    "sae", ["alice", "sae:", ":alice", "1sae:alice", "sae:a b", "sae:a#b", "sae:%zz", "sae:a\\b", "sae:ä"]
)
def test_an_sae_id_in_a_certificate_is_an_absolute_uri(sae):
    with pytest.raises(PkiError, match="such as sae:alice"):
        sae_subject(SaeId(sae))


@pytest.mark.parametrize("sae", ["qks:A", "QKS:A", "qKs:anything"])
def test_an_sae_cannot_be_named_like_a_site(sae):
    with pytest.raises(PkiError, match="would pass for a site"):
        sae_subject(SaeId(sae))


@pytest.mark.parametrize("sae", ["qkdm:A/1", "QKDM:A/1", "qKdm:anything"])
def test_an_sae_cannot_be_named_like_a_module(sae):
    with pytest.raises(PkiError, match="would pass for a QKD module"):
        sae_subject(SaeId(sae))


def test_a_modules_subject_has_its_name_as_uri_and_as_common_name_where_it_fits():
    short, long = module_subject(QkdmId("A/1"), ["localhost"]), module_subject(QkdmId(f"{'A' * 63}/1"), ["localhost"])
    assert [name.value for name in short.alternative_names] == ["qkdm:A/1", "localhost"]
    assert [part.value for part in short.name] == ["A/1"]
    assert long.alternative_names[0].value == f"qkdm:{'A' * 63}/1"
    assert list(long.name) == []


@pytest.mark.parametrize(
    "sae", ["sae:alice", "urn:uuid:6f1b", "https://example.org/app?x=1", "spiffe://net/alice", "sae:%41"]
)
def test_uris_that_name_saes(sae):
    assert sae_subject(SaeId(sae)).alternative_names[0].value == sae


@pytest.mark.parametrize(
    "host", ["", "a b", "10.0.0.256", "host:8443", "*.example.org", "-a.org", "a" * 64, "é.org", "[::1]"]
)
def test_bad_hosts(host):
    with pytest.raises(PkiError, match="is no host"):
        site_subject(QksId("A"), [host])


@given(SAE_IDS, SAE_IDS)
def test_file_names_do_not_collide(one, other):
    assume(one != other)
    assert sae_file_stem(one) != sae_file_stem(other)


@given(SAE_IDS)
def test_file_names_stay_in_their_folder(sae):
    stem = sae_file_stem(sae)
    assert not set(stem) & set("/\\:\0")
    assert not stem.startswith(".")
    assert len(stem) <= 200


@pytest.mark.parametrize(
    ("sae", "stem"),
    [
        ("sae:alice", "sae_alice"),
        ("sae:../../etc/passwd", "sae_..%2F..%2Fetc%2Fpasswd"),
        ("sae:a:b", "sae_a%3Ab"),
        ("sae:a%2Fb", "sae_a%252Fb"),
        ("s.a:b_c", "s.a_b_c"),
    ],
)
def test_file_names(sae, stem):
    assert sae_file_stem(SaeId(sae)) == stem


def test_reading_a_decoded_certificate():
    assert peer_certificate(
        {
            "subject": ((("countryName", "IT"),), (("commonName", "A"),)),
            "subjectAltName": (("URI", "qks:A"), ("DNS", "localhost"), ("IP Address", "127.0.0.1")),
        }
    ) == PeerCertificate("A", ("qks:A",), ("localhost",))


def test_several_common_names_are_none():
    decoded = {"subject": ((("commonName", "A"),), (("commonName", "B"),))}
    assert peer_certificate(decoded) == PeerCertificate(None, (), ())


def test_a_sites_name():
    assert site_of(PeerCertificate("x", ("qks:A", "https://a.example.org"), ())) == "A"


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("sae:alice",),
        ("qks:A", "qks:B"),
        ("qks:A", "QKS:A"),
        ("QKS:A",),
        ("qks:",),
        ("qks:a b",),
        ("qks:A", "qkdm:A/1"),
        ("qks:A", "QKDM:A/1"),
        ("qkdm:A/1",),
    ],
)
def test_no_sites_name(uris):
    with pytest.raises(Unauthorised):
        site_of(PeerCertificate("A", uris, ("A",)))


def test_a_modules_name():
    assert module_of(PeerCertificate("x", ("qkdm:A/1", "https://a.example.org"), ())) == "A/1"


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("qks:A",),
        ("qkdm:A/1", "qkdm:A/2"),
        ("qkdm:A/1", "QKDM:A/1"),
        ("qkdm:A/1", "qks:A"),
        ("qkdm:A/1", "QKS:A"),
        ("QKDM:A/1",),
        ("qkdm:A",),
        ("qkdm:A/",),
        ("qkdm:/1",),
        ("qkdm:A/1/2",),
        ("qkdm:A/..",),
        ("qkdm:A/1 ",),
    ],
)
def test_no_modules_name(uris):
    with pytest.raises(Unauthorised):
        module_of(PeerCertificate("A/1", uris, ("A",)))


def test_a_certificate_names_a_site_or_a_module():
    assert name_in(PeerCertificate("x", ("qks:A",), ())) == "A"
    assert name_in(PeerCertificate("x", ("qkdm:A/1",), ())) == "A/1"
    assert [titled(name) for name in ("A", "A/1")] == ["site A", "module A/1"]
    for uris in ((), ("sae:alice",), ("qks:A", "qkdm:A/1"), ("qkdm:A",)):
        with pytest.raises(Unauthorised):
            name_in(PeerCertificate("A/1", uris, ()))


@pytest.mark.parametrize("names", ["3002a300", "3002a500", "3005860361fffe", "3003870101", "3002a000", "3005860761"])
def test_names_that_cannot_be_read_are_told_as_such(names):
    """Of kinds that the library does not know, no text, and cut short."""
    key, now = new_private_key(), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(common_name("ca"), common_name("x"), key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex(names)),
            critical=False,
        )
        .sign(key, SHA256())
    )
    with pytest.raises(PkiError, match="cannot be read"):
        names_in(certificate)

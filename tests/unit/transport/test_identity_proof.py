"""From the wire to a name: what a handshake's certificate proves, and whose SAE ID it is."""

from __future__ import annotations

import pytest

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.certificates import PeerCertificate
from qss.model.errors import LocalProtocolError, Unauthorised
from qss.transport.proof import peer_of

ALICE = PeerCertificate("alice-cn", ("sae:alice",), ("alice.example.org",))


@pytest.mark.parametrize(
    ("fields", "sae"),
    [
        (("uri", "cn"), "sae:alice"),
        (("cn", "uri"), "alice-cn"),
        (("dns",), "alice.example.org"),
        (("cn",), "alice-cn"),
    ],
)
def test_fields_are_tried_in_order(fields, sae):
    assert CertificateIdentity(fields).sae(ALICE) == sae


def test_the_default_is_uri_then_common_name():
    identity = CertificateIdentity()
    assert identity.sae(ALICE) == "sae:alice"
    assert identity.sae(PeerCertificate("alice-cn", (), ())) == "alice-cn"


@pytest.mark.parametrize(
    "certificate",
    [
        PeerCertificate("A", ("qks:A",), ()),
        PeerCertificate("A", ("sae:alice", "qks:A"), ()),
        PeerCertificate("A", ("QKS:A",), ("a.example.org",)),
    ],
)
def test_a_site_is_never_an_application(certificate):
    for fields in (("uri",), ("cn",), ("dns",), ("uri", "cn", "dns")):
        with pytest.raises(Unauthorised, match="a site's"):
            CertificateIdentity(fields).sae(certificate)


@pytest.mark.parametrize(
    "certificate",
    [
        PeerCertificate("A/1", ("qkdm:A/1",), ()),
        PeerCertificate("alice", ("sae:alice", "qkdm:A/1"), ()),
        PeerCertificate("alice", ("QKDM:A/1",), ("a.example.org",)),
    ],
)
def test_a_module_is_never_an_application(certificate):
    for fields in (("uri",), ("cn",), ("dns",), ("uri", "cn", "dns")):
        with pytest.raises(Unauthorised, match="a QKD module's"):
            CertificateIdentity(fields).sae(certificate)


@pytest.mark.parametrize(
    "certificate",
    [
        PeerCertificate(None, (), ("alice.example.org",)),
        PeerCertificate("alice", ("sae:alice", "sae:bob"), ()),
        PeerCertificate("alice with spaces", (), ()),
        PeerCertificate("alice", ("sae:" + "a" * 252,), ()),
        PeerCertificate("", (), ()),
        PeerCertificate("älice", (), ()),
    ],
    ids=["none", "several", "spaces", "long", "empty", "not ASCII"],
)
def test_no_name_no_identity(certificate):
    with pytest.raises(Unauthorised):
        CertificateIdentity(("uri", "cn")).sae(certificate)


@pytest.mark.parametrize("fields", [(), ("uri", "email"), ("URI",)])
def test_unknown_fields(fields):
    with pytest.raises(LocalProtocolError, match="identity fields are some of"):
        CertificateIdentity(fields)


def test_without_tls_there_is_no_peer():
    assert peer_of(None) is None

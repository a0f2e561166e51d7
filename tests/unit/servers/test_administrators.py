"""Who may look: the site, one of its modules where it is that module's, and whom the configuration lists."""

from __future__ import annotations

import pytest

from qss.adapters.identity.certificate import CertificateIdentity
from qss.model.certificates import PeerCertificate
from qss.model.errors import Unauthorised
from qss.model.identifiers import QkdmId, QksId, SaeId
from qss.servers.administrators import Administrators

SITE = Administrators(QksId("A"), [SaeId("sae:alice")], CertificateIdentity())
MODULE = Administrators(QksId("A"), [SaeId("sae:alice")], CertificateIdentity(), QkdmId("A/1"))


def named(*uris: str) -> PeerCertificate:
    return PeerCertificate(None, uris, ())


@pytest.mark.parametrize("who", [SITE, MODULE], ids=["site", "module"])
def test_the_site_and_listed_applications_may_look(who):
    assert [who.name(named(uri)) for uri in ("qks:A", "sae:alice")] == ["site A", "sae:alice"]
    for uris in (("qks:B",), ("qkdm:A/2",), ("qkdm:B/1",), ("sae:bob",), ("qks:A", "qks:B"), ("qks:A", "qkdm:A/1"), ()):
        with pytest.raises(Unauthorised):
            who.name(named(*uris))


def test_a_module_may_look_at_itself_only():
    assert MODULE.name(named("qkdm:A/1")) == "module A/1"
    with pytest.raises(Unauthorised):
        SITE.name(named("qkdm:A/1"))


def test_what_is_told_says_what_would_help():
    with pytest.raises(Unauthorised, match=r"sae:bob is no administrator; list it in admin\.administrators"):
        SITE.name(named("sae:bob"))
    assert SITE.refusal == "this certificate is not the site's own, nor a listed administrator's"
    assert MODULE.refusal == "this certificate is not the module's own or its site's, nor a listed administrator's"

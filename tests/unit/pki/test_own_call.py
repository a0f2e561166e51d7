"""A site calls itself: what its neighbours would refuse is found before they do."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from qss.model.errors import PkiError
from qss.pki.contexts import application_context, client_context, server_context
from qss.pki.folder import Pair
from qss.pki.own_call import check_called, check_own_call
from support.pki import Pki


def call(pair: Pair, authority: Path) -> None:
    files = (pair.certificate, pair.key, authority)
    check_own_call(server_context(*files), client_context(*files), pair.certificate, authority)


def test_a_site_accepts_itself(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    call(pki.site("A"), pki.authority)


def test_one_authority_of_several_is_enough(tmp_path: Path) -> None:
    pki, other = Pki(tmp_path / "pki"), Pki(tmp_path / "other")
    both = tmp_path / "both.pem"
    both.write_bytes(other.authority.read_bytes() + pki.authority.read_bytes())
    call(pki.site("A"), both)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_site_is_called_by_the_names_of_its_certificate(tmp_path: Path, host: str) -> None:
    pki = Pki(tmp_path / "pki")
    pair = pki.site("A")
    client = application_context(pair.certificate, pair.key, pki.authority)
    check_called(pki.server_context("A"), client, pair.certificate, host)
    for other in ("example.org", "127.0.0.2"):
        with pytest.raises(PkiError, match=rf"A\.pem does not name '{other}' .*; use a name that it has"):
            check_called(pki.server_context("A"), client, pair.certificate, other)


def test_another_authority_is_refused(tmp_path: Path) -> None:
    pki, other = Pki(tmp_path / "pki"), Pki(tmp_path / "other")
    with pytest.raises(PkiError, match=r"A\.pem is refused by whoever trusts .*ca\.pem, .*add this one's authority"):
        call(pki.site("A"), other.authority)


def test_a_certificate_that_serves_for_calling_alone_is_refused(tmp_path: Path) -> None:
    pki = Pki(tmp_path / "pki")
    usages = x509.load_pem_x509_certificate(pki.sae("sae:alice").certificate.read_bytes()).extensions
    allowed = usages.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH not in allowed
    with pytest.raises(PkiError, match="purpose"):
        call(pki.sae("sae:alice"), pki.authority)

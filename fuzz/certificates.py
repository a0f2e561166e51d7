"""Certificates that come along with what a site has signed: whatever they are made of, they are refused or taken.

A site's own certificate, its authority's, and one between the two, mutated, in any order, beside good ones or alone.
Nothing but `Unauthorised` comes of them, what is good stays good whatever stands beside it, and nothing else is
remembered.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from qss.model.errors import Unauthorised
from qss.model.identifiers import QksId
from qss.pki.authority import Authority, certificate_pem, create_authority
from qss.pki.keys import new_private_key
from qss.pki.names import site_subject
from qss.pki.statements import AuthorityJudge, Judge

_SITE = QksId("A")
_TEXT = b"what is said"


@dataclass(frozen=True)
class _World:
    judge: Judge
    authority_judge: AuthorityJudge
    own: bytes
    between: bytes
    root: bytes
    signature: bytes

    @property
    def good(self) -> tuple[bytes, ...]:
        return self.own, self.between


@cache
def _world() -> _World:
    now = datetime.now(UTC)
    root = create_authority("root", days=30, now=now)
    # Made by hand: `create_authority` makes only such as sign no further authority, and with this one there is a chain.
    root = Authority(_above(root, root, now), root.key)
    middle = create_authority("between", days=20, now=now)
    middle = Authority(_above(middle, root, now), middle.key)
    key = new_private_key()
    own = middle.issue(site_subject(_SITE, ["localhost"]), key.public_key(), days=10, now=now)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ca.pem"
        file.write_bytes(certificate_pem(root.certificate))
        judge, authority_judge = Judge(file), AuthorityJudge(file)
    signature = key.sign(_TEXT, ec.ECDSA(SHA256()))
    return _World(judge, authority_judge, _der(own), _der(middle.certificate), _der(root.certificate), signature)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _above(one: Authority, above: Authority, now: datetime) -> x509.Certificate:
    usage = one.certificate.extensions.get_extension_for_class(x509.KeyUsage)
    public = one.key.public_key()
    issuer, name = above.certificate.subject, one.certificate.subject
    return (
        x509.CertificateBuilder(issuer, name, public, x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(one.certificate.not_valid_after_utc)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage.value, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()), critical=False)
        .sign(above.key, SHA256())
    )


def seeds() -> list[bytes]:
    """Return the three certificates, and a signature."""
    world = _world()
    return [world.own, world.between, world.root, world.signature]


def one(data: bytes) -> None:
    """Have certificates judged that are made of `data`. Raises `AssertionError` for what must not be."""
    if not data:
        return
    world, chance = _world(), random.Random(data)
    made = list(_elements(data[1:]))
    chains = [made, [world.own, *made], [*made, world.between]]
    signature = chance.choice((world.signature, data[1:]))
    known: dict[bytes, object] = vars(world.judge)["_known"]
    known.clear()
    with suppress(Unauthorised):
        world.judge.check(_SITE, _TEXT, "ecdsa-sha256", chains[data[0] % len(chains)], signature)
    with suppress(Unauthorised):
        world.authority_judge.check(_TEXT, "ecdsa-sha256", data[1:])
    known.clear()
    for chain in ((world.own, *made[:2], world.between), world.good):
        world.judge.check(_SITE, _TEXT, "ecdsa-sha256", chain, world.signature)
    assert set(known) == {world.own}, "more is remembered than the authority stands for"


def _elements(data: bytes) -> Iterator[bytes]:
    """Yield pieces that are as long as their own heads say (X.690, clause 8.1), so that mutated seeds stay apart."""
    while data:
        long = data[:1] == b"\x30" and data[1:2] == b"\x82"
        length = 4 + int.from_bytes(data[2:4]) if long else len(data)
        yield data[:length]
        data = data[length:]

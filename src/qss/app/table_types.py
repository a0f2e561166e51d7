"""What the tables of configuration files are made of: their base, and the types of single values.

Descriptions say, in the words of an error, what is allowed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from qss.app.toml_decoding import SECRET
from qss.model.identifiers import QkdmId, QksId, SaeId

ANY_SAE = SaeId("*")
"""In a pair: whichever SAE."""

QKS_ID_IS = "a QKS ID: 1 to 63 letters, digits, '.', '-' or '_', the first a letter or digit"
SAE_ID_IS = "an SAE ID: 1 to 255 printable ASCII characters, no spaces"
PARTY_IS = 'an SAE ID, or "*" for any'

PEER_MODULE_IS = "a QKD module of the site at the other end, such as B/1"
MODULE_IS = "a QKD module of this site: its QKS ID, '/' and 1 to 63 letters, digits, '.', '-' or '_', such as A/1"

QksName = Annotated[QksId, Meta(description=QKS_ID_IS)]
SaeName = Annotated[SaeId, Meta(description=SAE_ID_IS)]
ModuleName = Annotated[QkdmId, Meta(description=MODULE_IS)]
PeerModule = Annotated[QkdmId, Meta(description=PEER_MODULE_IS)]
Party = Annotated[SaeId, Meta(description=PARTY_IS)]
CredentialName = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$",
        description="a file name in systemd's credentials folder: letters, digits, '.', '-' or '_'",
    ),
]
BasePath = Annotated[
    str,
    Meta(
        pattern=r"^(/[A-Za-z0-9._~%-]+){1,16}\Z",
        max_length=255,
        description="a path that begins with '/' and ends without, such as /api/v1/keys",
    ),
]
Uri = Annotated[
    str,
    Meta(
        pattern=r"^[!-~]{1,4096}\Z",
        description="a URI: 1 to 4096 printable ASCII characters, no spaces, such as app:alice",
    ),
    SECRET,
]
"""It may carry a token (ETSI GS QKD 004, clause 6.2)."""
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Rate = Annotated[float, Meta(gt=0, le=1_000_000_000_000)]
Outstanding = Annotated[int, Meta(ge=1, le=1_000_000_000)]
KeySize = Annotated[int, Meta(ge=8, le=1 << 20, multiple_of=8)]
LinkTags = Literal["off", "offered", "required"]
"""Whether what routing sends to a neighbour is tagged with key of the link (Routing 12.1)."""


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table: immutable, and closed to keys it does not know."""

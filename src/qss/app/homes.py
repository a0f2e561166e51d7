"""Where SAEs are at home, as the network's authority states it: making statements, and judging them (Routing 3.4).

Held here: what a statement is about, whose it is and until when. Not here: its form (`wire.home_statement`), signatures
(`pki.statements`), and what a site's configuration says besides, which counts without any statement.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from qss.model.errors import BadRequest, PkiError, Unauthorised
from qss.model.identifiers import QksId, SaeId
from qss.pki.files import read
from qss.pki.folder import PkiFolder
from qss.pki.statements import AuthorityJudge
from qss.wire.home_statement import (
    SIGNED_AS,
    HomeStatement,
    SignedStatement,
    decode_statement,
    encode_home,
    encode_statement,
    parse_statement_text,
    statement_text,
)

_DAY_S = 24 * 3600
_MAX_KNOWN = 65_536
_DIGEST_BYTES = 16

FORGERIES = 100
"""Bad signatures of one origin that are looked at in `FORGERIES_S`; what it tells beyond that counts unseen as bad."""

FORGERIES_S = 60.0


def state_home(pki: PkiFolder, sae: SaeId, site: QksId, days: int) -> Path:
    """Have the authority state that `sae` is at home at `site`, for so many days; return the statement's file.

    Raises `PkiError` if there is one already, or no authority.
    """
    body = encode_home(sae, site, int(time.time()) + days * _DAY_S)

    def form(algorithm: str, signature: bytes) -> str:
        return statement_text(encode_statement(SignedStatement(body, algorithm, signature)))

    return pki.state(pki.home(sae), SIGNED_AS + body, form)


def read_statement(path: Path) -> bytes:
    """Return the statement in a file. Raises `PkiError` if there is none."""
    try:
        return parse_statement_text(read(path).decode("ascii", "replace"))
    except BadRequest as error:
        raise PkiError(f"{path}: {error.message}") from None


class Homes:
    """Judges statements, and remembers what came of it: most of them come again and again."""

    def __init__(self, authority: Path, wall: Callable[[], float] = time.time) -> None:
        """Take what the certificates in the file `authority` stand for. Raises `PkiError`."""
        self._judge = AuthorityJudge(authority)
        self._wall = wall
        self._known: dict[bytes, HomeStatement | None] = {}
        self._forgeries: Counter[QksId] = Counter()
        self._counted_from = self._looked_at = wall()

    def check(self, statement: bytes, sae: SaeId, site: QksId) -> HomeStatement:
        """Return what the authority states, if that is the home of `sae` at `site`; it may be over.

        Raises `Unauthorised` if it is not, `BadRequest` if it is no statement.
        """
        home = self._verified(statement)
        if (home.sae, home.site) != (sae, site):
            raise Unauthorised(f"the statement is that {home.sae} is at home at {home.site}, not {sae} at {site}")
        return home

    def is_over(self, home: HomeStatement) -> bool:
        """Whether a statement has expired."""
        return home.expires <= self._wall()

    def counts(self, sae: SaeId, site: QksId, statement: bytes | None) -> bool:
        """Whether `statement`, as `site` tells it, shows that `sae` is at home there."""
        if statement is None:
            return False
        digest = hashlib.blake2b(statement, digest_size=_DIGEST_BYTES).digest()
        if digest not in self._known:
            if self._forged_too_often(site):
                return False
            self._remember(digest, site, statement)
        home = self._known[digest]
        return home is not None and (home.sae, home.site) == (sae, site) and not self.is_over(home)

    def next_end(self) -> float | None:
        """Return when the next statement ends, in seconds since 1970; None: none that is known does.

        One that has ended since this was last asked is still returned, once: it may have come, and gone, meanwhile.
        """
        since, self._looked_at = self._looked_at, self._wall()
        return min((home.expires for home in self._known.values() if home and home.expires > since), default=None)

    def _verified(self, statement: bytes) -> HomeStatement:
        signed, home = decode_statement(statement)
        self._judge.check(SIGNED_AS + signed.body, signed.algorithm, signed.signature)
        return home

    def _remember(self, digest: bytes, site: QksId, statement: bytes) -> None:
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        try:
            self._known[digest] = self._verified(statement)
        except (Unauthorised, BadRequest):
            self._known[digest] = None
            self._forgeries[site] += 1

    def _forged_too_often(self, site: QksId) -> bool:
        if not 0 <= self._wall() - self._counted_from <= FORGERIES_S:
            self._forgeries.clear()
            self._counted_from = self._wall()
        return self._forgeries[site] >= FORGERIES

"""Where SAEs are at home, as the network's authority states it: making statements, and checking them (Routing 3.4).

Held here: what a statement is about, whose it is and until when. Not here: which of those that others tell count, and
when each is looked at (`core.routing.homes`), its form (`wire.home_statement`), signatures
(`pki.statements`), and what a site's configuration says besides, which counts without any statement.
"""

from __future__ import annotations

import time
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
    """Judges what the network's authority states."""

    def __init__(self, authority: Path, wall: Callable[[], float] = time.time) -> None:
        """Take what the certificates in the file `authority` stand for. Raises `PkiError`."""
        self._judge = AuthorityJudge(authority)
        self._wall = wall

    def check(self, statement: bytes, sae: SaeId, site: QksId) -> HomeStatement:
        """Return what the authority states, if that is the home of `sae` at `site`; it may be over.

        Raises `Unauthorised` if it is not, `BadRequest` if it is no statement.
        """
        signed, home = decode_statement(statement)
        self._judge.check(SIGNED_AS + signed.body, signed.algorithm, signed.signature)
        if (home.sae, home.site) != (sae, site):
            raise Unauthorised(f"the statement is that {home.sae} is at home at {home.site}, not {sae} at {site}")
        return home

    def is_over(self, home: HomeStatement) -> bool:
        """Whether a statement has expired."""
        return home.expires <= self._wall()

    def hold(self, statement: bytes, sae: SaeId, site: QksId) -> bool:
        """Whether others can be shown by this statement, now, that `sae` is at home at `site`."""
        try:
            return not self.is_over(self.check(statement, sae, site))
        except (Unauthorised, BadRequest):
            return False

    def are_stated(self, signed: SignedStatement) -> bool:
        """Whether the authority has signed this. Which homes count, and when, is decided by `core.routing.homes`."""
        try:
            self._judge.check(SIGNED_AS + signed.body, signed.algorithm, signed.signature)
        except Unauthorised:
            return False
        return True

"""The SAEs that were registered at a site while it ran: `saes.json` in the data folder.

    state       what it means                                        leaves it
    ──────────  ───────────────────────────────────────────────────  ─────────────────────────────────────────
    absent      not at home here by this file                        add ▶ registered, follow ▶ configured
    registered  at home here                                         begin_removal ▶ leaving, add ▶ registered,
                                                                     follow ▶ configured, or ▶ leaving
    configured  at home here, as the configuration had it last       follow ▶ leaving
    leaving     at home here no more; its keys may not all be burnt  end_removal ▶ absent, begin_removal ▶ leaving

The configuration comes first: an SAE that is in it is registered no more, and one that has been taken out of it leaves,
whether the site ran meanwhile or not. Each change is on disk before it counts. So a removal that a crash interrupts is
gone on with. Held here: that file. Not here: what a removal burns (`sae_registration`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from qss.model.errors import BadRequest, LocalProtocolError, StoreError, StoreUnavailable, Unavailable
from qss.model.identifiers import SaeId, parse_sae_id
from qss.pki.durable import replace_file
from qss.wire.home_statement import decode_statement

SAES = "saes.json"
"""The file in the data folder."""

MAX_SAES = 10_000
"""Most SAEs that can be registered; those that are leaving are counted, too."""

MAX_TOLD_BYTES = 2 << 20
"""Most bytes of their IDs and statements: they have to fit into what one site can tell the network."""

_FORMAT = 1


class _Form(msgspec.Struct, frozen=True):
    format: int


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    registered: dict[str, bytes | None]
    leaving: tuple[str, ...]
    configured: tuple[str, ...] = ()


class SaeRegister:
    """The registered SAEs of one site. For one process and one thread."""

    def __init__(self, file: Path) -> None:
        """Read what is there; no file is an empty one. Raises `StoreError` if it is damaged, `StoreUnavailable`."""
        self._file = file
        self._registered: dict[SaeId, bytes | None] = {}
        self._leaving: frozenset[SaeId] = frozenset()
        self._configured: frozenset[SaeId] = frozenset()
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreUnavailable(f"{file} cannot be read ({error.strerror}); check its owner and mode") from error
        self._registered, self._leaving, self._configured = _parse(content, file)

    def __iter__(self) -> Iterator[SaeId]:
        return iter(self._registered)

    def __contains__(self, sae: SaeId) -> bool:
        return sae in self._registered

    @property
    def statements(self) -> Mapping[SaeId, bytes | None]:
        """The SAEs that are registered, each with the authority's statement of its home, if there is one."""
        return self._registered

    @property
    def leaving(self) -> frozenset[SaeId]:
        """SAEs that were removed, and whose keys may not all be burned yet."""
        return self._leaving

    def add(self, sae: SaeId, statement: bytes | None) -> None:
        """Register an SAE, or give it another statement.

        Raises `BadRequest` if it is still leaving or there are too many, `Unavailable` if the disk refuses.
        """
        if sae in self._leaving:
            raise BadRequest(f"the keys of {sae} are still being burned, after its removal: try again in a moment")
        if sae not in self._registered and len(self._registered) + len(self._leaving) >= MAX_SAES:
            raise BadRequest(f"{MAX_SAES} SAEs are registered, and no more can be: remove some with `qss sae remove`")
        registered = {**self._registered, sae: statement}
        if sum(len(each) + len(stated or b"") for each, stated in registered.items()) > MAX_TOLD_BYTES:
            raise BadRequest(
                f"the SAEs that are registered have {MAX_TOLD_BYTES >> 20} MiB of names and statements, and no more "
                "can be told to the network: remove some with `qss sae remove`"
            )
        self._write(registered, self._leaving, self._configured)

    def follow(self, here: frozenset[SaeId], elsewhere: frozenset[SaeId]) -> None:
        """Note which SAEs are configured as at home here, and at other sites. Raises `Unavailable` as `add` does.

        Whoever was configured here and is not any more leaves, and so does one that was registered and is configured as
        at home elsewhere.
        """
        kept = {sae: stated for sae, stated in self._registered.items() if sae not in here | elsewhere}
        leaving = self._leaving | (self._configured - here) | (self._registered.keys() & elsewhere)
        if (kept, leaving, here) != (self._registered, self._leaving, self._configured):
            self._write(kept, leaving, here)

    def begin_removal(self, sae: SaeId) -> None:
        """Have an SAE at home here no more. Raises `Unavailable` if the disk refuses."""
        kept = {each: statement for each, statement in self._registered.items() if each != sae}
        self._write(kept, self._leaving | {sae}, self._configured)

    def end_removal(self, sae: SaeId) -> None:
        """All keys of an SAE that is leaving are burned. Raises `Unavailable` if the disk refuses."""
        if sae not in self._leaving:
            raise LocalProtocolError(f"{sae} is not leaving")
        self._write(self._registered, self._leaving - {sae}, self._configured)

    def _write(
        self, registered: dict[SaeId, bytes | None], leaving: frozenset[SaeId], configured: frozenset[SaeId]
    ) -> None:
        named: dict[str, bytes | None] = {str(sae): registered[sae] for sae in sorted(registered)}
        content = msgspec.json.encode(_File(_FORMAT, named, tuple(sorted(leaving)), tuple(sorted(configured))))
        try:
            replace_file(self._file, content + b"\n", 0o600)
        except OSError as error:
            raise Unavailable(
                f"{self._file} cannot be written ({error.strerror}): the site goes on as before; see to the disk, and "
                "try again"
            ) from error
        self._registered, self._leaving, self._configured = registered, leaving, configured


def _parse(content: bytes, file: Path) -> tuple[dict[SaeId, bytes | None], frozenset[SaeId], frozenset[SaeId]]:
    try:
        form = msgspec.json.decode(content, type=_Form).format
        if form != _FORMAT:
            raise StoreError(f"{file} has format {form}, this release reads {_FORMAT}; run the release that made it")
        found = msgspec.json.decode(content, type=_File)
        for statement in found.registered.values():
            if statement is not None:
                decode_statement(statement)
        registered = {parse_sae_id(sae): statement for sae, statement in found.registered.items()}
        leaving = frozenset(map(parse_sae_id, found.leaving))
        configured = frozenset(map(parse_sae_id, found.configured))
    except (ValueError, BadRequest, RecursionError) as error:
        raise _damaged(file) from error
    if (leaving | configured) & registered.keys():
        raise _damaged(file)
    return registered, leaving, configured


def _damaged(file: Path) -> StoreError:
    return StoreError(f"{file} is damaged; restore it from a back-up, or remove it and register the SAEs anew")

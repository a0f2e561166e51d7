"""Back-ups of data folders, and data folders of back-ups.

::

    <back-up>/              mode 0700
        ledger.sqlite       the ledger as it was at one moment, without any key
        data-key.json       the data key, sealed by the key ring: a copy of the data folder's
        saes.json           the SAEs that are registered, if any ever were: a copy of the data folder's
        back-up.json        whose it is, what the other files must be, and where the audit log stood

Held here: which files there are, and that they are whole. None needs the master key. Refused here: anchors, which
belong into no back-up, the audit log's records (`audit.restoring`), and starting what was restored.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import file_digest
from pathlib import Path

import msgspec

from qss.app.audit.restoring import begin_restored
from qss.app.audit.segments import last_position
from qss.app.catalogue import back_up_store, restore_store
from qss.app.data_folder import LEDGER
from qss.app.data_key_file import DATA_KEY, check_whole, read_data_key, refuse_zeroized, write_data_key
from qss.app.new_folder import being_made, vacant
from qss.app.sae_register import SAES, SaeRegister
from qss.model.errors import InvalidIdentifier, StoreError, StoreUnavailable
from qss.model.identifiers import QksId, parse_qks_id
from qss.pki.durable import create_file
from qss.wire.audit import Position

MANIFEST = "back-up.json"
"""The file that makes a folder a back-up."""

_FORMAT = 1
_MAX_BYTES = 65536


@dataclass(frozen=True, slots=True)
class BackUp:
    """What a back-up says of itself."""

    site: QksId
    made_at: datetime
    commit_number: int
    sha256: dict[str, str]
    """Of its files, in hexadecimal."""
    audit: Position | None = None
    """The last record of the audit log then, if there was one that could be read."""


def back_up(data: Path, destination: Path) -> BackUp:
    """Make a back-up of the data folder `data`, whether its node runs or not; all or nothing.

    Raises `StoreError` if `data` is no whole data folder of this release or `destination` is not vacant,
    `StoreUnavailable` if a disk refuses.
    """
    data_key = read_data_key(data)
    check_whole(data, data_key)
    SaeRegister(data / SAES)
    destination = _outside(vacant(destination), data)
    audit = last_position(data)
    with being_made(destination) as making:
        commit_number = back_up_store(data / LEDGER, data_key.site, making / LEDGER)
        write_data_key(making, data_key)
        _copy_saes(data, making)
        digests = {name: _digest(making / name) for name in (LEDGER, DATA_KEY, SAES) if (making / name).exists()}
        made = BackUp(data_key.site, datetime.now(UTC), commit_number, digests, audit)
        _write_manifest(making, made)
    return made


def restore(source: Path, data: Path) -> tuple[BackUp, tuple[QksId, ...]]:
    """Make a data folder of a back-up; all or nothing. Return what the back-up says, and the site's neighbours in it.

    All links are marked to burn what the ledger has available or reserved before any of it is used.

    Raises `StoreError` if `source` is no whole back-up of this release or `data` is not vacant, `StoreUnavailable` if
    a disk refuses.
    """
    found = _read_manifest(source)
    _check_files(source, found)
    data_key = read_data_key(source)
    if data_key.site != found.site:
        raise _damaged(source / MANIFEST)
    data = _outside(vacant(data), source)
    with being_made(data) as making:
        neighbours = restore_store(source / LEDGER, data_key.site, making / LEDGER)
        write_data_key(making, data_key)
        if SAES in found.sha256:
            _copy_saes(source, making)
        begin_restored(making, found.site, found.audit, time.time())
    return found, neighbours


def _copy_saes(folder: Path, making: Path) -> None:
    try:
        content = (folder / SAES).read_bytes()
    except FileNotFoundError:
        return
    create_file(making / SAES, content, 0o600)


def _outside(folder: Path, other: Path) -> Path:
    """Return `folder` unless it lies in `other`."""
    if folder.is_relative_to(other.resolve()):
        raise StoreError(f"{folder} lies in {other}; choose a place outside it")
    return folder


# --- the manifest -------------------------------------------------------------------------------------------------


def _write_manifest(folder: Path, made: BackUp) -> None:
    content = {
        "format": _FORMAT,
        "site": made.site,
        "made_at": made.made_at.isoformat(timespec="seconds"),
        "commit_number": made.commit_number,
        "sha256": made.sha256,
        "audit": msgspec.to_builtins(made.audit),
    }
    create_file(folder / MANIFEST, (json.dumps(content, indent=2) + "\n").encode("ascii"), 0o600)


def _read_manifest(source: Path) -> BackUp:
    path = source / MANIFEST
    try:
        refuse_zeroized(source)
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(
            f"{source} is no back-up: it has no {MANIFEST}; name a folder that `qss backup` made. "
            "A data folder that was copied is put in its place as it is"
        ) from error
    except OSError as error:
        raise StoreUnavailable(
            f"{path} cannot be read ({error.strerror}); check its owner and mode (0600), and those of its folder (0700)"
        ) from error
    try:
        content = json.loads(text)
        form = content["format"]
        found = BackUp(
            parse_qks_id(content["site"]),
            datetime.fromisoformat(content["made_at"]),
            int(content["commit_number"]),
            {
                name: str(content["sha256"][name])
                for name in (LEDGER, DATA_KEY, *([SAES] if SAES in content["sha256"] else []))
            },
            msgspec.convert(content.get("audit"), Position | None),
        )
    except (InvalidIdentifier, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path) from error
    if form != _FORMAT:
        raise StoreError(f"{path} has format {form!r}, this release reads {_FORMAT}; run the release that made it")
    return found


def _check_files(source: Path, found: BackUp) -> None:
    """Raise `StoreError` unless the files are what they were when the back-up was made."""
    for name, told in found.sha256.items():
        path = source / name
        try:
            digest = _digest(path)
        except OSError as error:
            raise StoreUnavailable(f"{path} cannot be read ({error.strerror}); use another back-up") from error
        if digest != told:
            raise _damaged(path)


def _damaged(path: Path) -> StoreError:
    return StoreError(f"{path} is damaged: it is not what `qss backup` wrote; use another back-up")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()

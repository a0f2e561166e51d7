"""Every key ring that must keep the port's contract: each test runs on all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from qss.adapters.keyrings.key_file import key_file_ring
from qss.adapters.keyrings.passphrase import PassphraseKeyRing, ScryptCost, passphrase_of
from qss.adapters.keyrings.systemd import DIRECTORY_VARIABLE, systemd_ring
from qss.ports.keyring import KeyRing

MASTER = bytes(range(200, 232))
OTHER = bytes(range(100, 132))
PASSPHRASE = "six words that dice have drawn"
CHEAP = ScryptCost(n=2, r=1, p=1)
"""No protection at all, and fast."""


@dataclass(frozen=True)
class Rings:
    """One kind of key ring: with the master key, with another one, and what must never be shown."""

    kind: str
    right: KeyRing
    wrong: KeyRing
    secrets: tuple[bytes, ...]


def _passphrase(folder: Path) -> Rings:
    right, wrong = (
        PassphraseKeyRing(lambda text=text: passphrase_of(text), CHEAP) for text in (PASSPHRASE, PASSPHRASE + "!")
    )
    return Rings("passphrase", right, wrong, (PASSPHRASE.encode(),))


def _key_file(folder: Path) -> Rings:
    return Rings(
        "key-file", *(key_file_ring(_written(folder / name, secret)) for name, secret in _FILES), (MASTER, OTHER)
    )


def _systemd(folder: Path) -> Rings:
    for name, secret in _FILES:
        _written(folder / name, secret)
    return Rings("systemd", *(systemd_ring(name) for name, _ in _FILES), (MASTER, OTHER))


_FILES = (("right", MASTER), ("wrong", OTHER))


def _written(path: Path, secret: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(secret)
    return path


KINDS: dict[str, Callable[[Path], Rings]] = {"passphrase": _passphrase, "key-file": _key_file, "systemd": _systemd}


@pytest.fixture(params=KINDS)
def rings(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rings:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(tmp_path))
    return KINDS[request.param](tmp_path)


@pytest.fixture
def others(rings: Rings, tmp_path: Path) -> list[Rings]:
    """Return the other kinds of key ring."""
    return [make(tmp_path) for kind, make in KINDS.items() if kind != rings.kind]

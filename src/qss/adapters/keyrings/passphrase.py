"""A master key that is a passphrase: stretched by scrypt (RFC 7914), its cost stored with the wrapped key.

Refused here: asking for the passphrase (the command line does), and keeping anything that was derived from it.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from qss.adapters.keyrings import envelope
from qss.adapters.keyrings.secret_file import read_private
from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

MIN_PASSPHRASE_CHARACTERS = 12
"""A shorter passphrase seals nothing new."""

_KIND = "passphrase"
_COST = re.compile(r"scrypt,n=([0-9]{1,9}),r=([0-9]{1,3}),p=([0-9]{1,3})")
_MAX_MEMORY_BYTES = 1 << 30
_MAX_PARALLEL = 16


@dataclass(frozen=True, slots=True)
class ScryptCost:
    """Cost of one guess: n (a power of two), r, p of RFC 7914. Memory is 128 · n · r bytes."""

    n: int = 1 << 17
    r: int = 8
    p: int = 1

    def text(self) -> str:
        """Return the cost as the envelope names it."""
        return f"scrypt,n={self.n},r={self.r},p={self.p}"


class PassphraseKeyRing:
    """Implements `qss.ports.keyring.KeyRing`. `passphrase` is asked for it at every use, in a thread of its own."""

    def __init__(self, passphrase: Callable[[], KeyMaterial], cost: ScryptCost = ScryptCost()) -> None:
        self._passphrase = passphrase
        self._cost = cost

    async def wrap(self, data_key: KeyMaterial, context: bytes) -> bytes:
        """As `KeyRing.wrap`. Raises `KeyRingError` if the passphrase is empty or too short."""
        return await asyncio.to_thread(self._wrap, data_key, context)

    async def unwrap(self, wrapped: bytes, context: bytes) -> KeyMaterial:
        """As `KeyRing.unwrap`."""
        return await asyncio.to_thread(self._unwrap, wrapped, context)

    def _wrap(self, data_key: KeyMaterial, context: bytes) -> bytes:
        passphrase = self._passphrase()
        if len(passphrase.reveal().decode()) < MIN_PASSPHRASE_CHARACTERS:
            raise KeyRingError(
                f"the passphrase is shorter than {MIN_PASSPHRASE_CHARACTERS} characters; choose a longer one, "
                "such as six words drawn by dice"
            )
        header = envelope.fresh_header(_KIND, self._cost.text())
        return envelope.close(header, _stretch(passphrase, header.salt, self._cost), data_key, context)

    def _unwrap(self, wrapped: bytes, context: bytes) -> KeyMaterial:
        found = envelope.read(wrapped, _KIND)
        wrapping_key = _stretch(self._passphrase(), found.header.salt, _read_cost(found.header.parameters))
        return envelope.open_(
            found, wrapping_key, context, "the passphrase does not open this data key; give the one used at `qss init`"
        )


def passphrase_of(text: str) -> KeyMaterial:
    """Return a passphrase as the key ring takes it: UTF-8 of its composed form (NFC), so that keyboards agree.

    Raises `KeyRingError` if it came from a terminal in bytes that are no text.
    """
    try:
        return KeyMaterial(unicodedata.normalize("NFC", text).encode())
    except UnicodeEncodeError:
        # The cause would carry the passphrase.
        raise KeyRingError("the passphrase is no text in the terminal's encoding; set the locale to UTF-8") from None


def read_passphrase_file(path: Path) -> KeyMaterial:
    """Return the passphrase in a file of mode 0600: one line of UTF-8, without its line end.

    Raises `KeyRingError` if the file cannot be used.
    """
    content = read_private(path, "the passphrase file").reveal()
    try:
        text = content.decode()
    except UnicodeDecodeError:
        # The cause would carry the bytes.
        raise KeyRingError(f"the passphrase file {path} is no UTF-8 text; write the passphrase as one line") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if "\n" in text:
        raise KeyRingError(f"the passphrase file {path} has more than one line; write the passphrase as one line")
    if not text:
        raise KeyRingError(f"the passphrase file {path} is empty; write the passphrase into it")
    return passphrase_of(text)


def _read_cost(text: str) -> ScryptCost:
    match = _COST.fullmatch(text)
    if match is None:
        raise KeyRingError("the sealed data key names no cost of scrypt; restore `data-key.json` from a back-up")
    cost = ScryptCost(*(int(number) for number in match.groups()))
    # A changed file must not make a start take all memory.
    if 128 * cost.n * cost.r > _MAX_MEMORY_BYTES or cost.p > _MAX_PARALLEL:
        raise KeyRingError(
            f"the sealed data key asks for {cost.text()}, more than this release allows "
            f"({_MAX_MEMORY_BYTES >> 20} MiB, p at most {_MAX_PARALLEL}); restore `data-key.json` from a back-up"
        )
    return cost


def _stretch(passphrase: KeyMaterial, salt: bytes, cost: ScryptCost) -> bytes:
    try:
        return Scrypt(salt=salt, length=32, n=cost.n, r=cost.r, p=cost.p).derive(passphrase.reveal())
    except (ValueError, MemoryError) as error:
        raise KeyRingError(
            f"scrypt cannot run with {cost.text()}; give this process {128 * cost.n * cost.r >> 20} MiB of memory, "
            "or restore `data-key.json` from a back-up"
        ) from error

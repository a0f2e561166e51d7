"""The passphrase key ring: what it takes for a passphrase, and what a hostile file can make it do."""

from __future__ import annotations

import traceback

import pytest
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from qss.adapters.keyrings import envelope, passphrase
from qss.adapters.keyrings.passphrase import PassphraseKeyRing, ScryptCost, passphrase_of
from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

CHEAP = ScryptCost(n=2, r=1, p=1)
DATA_KEY = KeyMaterial(bytes(range(32)))
WORDS = "six words that dice have drawn"


def ring(text: str, cost: ScryptCost = CHEAP) -> PassphraseKeyRing:
    return PassphraseKeyRing(lambda: passphrase_of(text), cost)


async def test_what_is_new_is_stretched_by_128_mib_of_scrypt() -> None:
    wrapped = await PassphraseKeyRing(lambda: passphrase_of(WORDS)).wrap(DATA_KEY, b"c")
    assert wrapped.startswith(b"qss1:passphrase:scrypt,n=131072,r=8,p=1:")
    assert await ring(WORDS).unwrap(wrapped, b"c") == DATA_KEY  # the cost is the envelope's, not the ring's


@pytest.mark.parametrize("text", ["", "hush", "elf symbole", "ü" * 11])
async def test_a_short_passphrase_seals_nothing_new(text) -> None:
    with pytest.raises(KeyRingError, match="is shorter than 12 characters; choose a longer one") as caught:
        await ring(text).wrap(DATA_KEY, b"c")
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("text", ["x" * 12, "ü" * 12, "zwölf Zeichen"])
async def test_twelve_characters_are_enough(text) -> None:
    assert await ring(text).unwrap(await ring(text).wrap(DATA_KEY, b"c"), b"c") == DATA_KEY


async def test_two_keyboards_type_the_same_passphrase() -> None:
    wrapped = await ring("größere Schlüssel").wrap(DATA_KEY, b"c")
    assert await ring("gro\u0308ßere Schlu\u0308ssel").unwrap(wrapped, b"c") == DATA_KEY
    with pytest.raises(KeyRingError, match="does not open"):
        await ring("grossere Schlussel").unwrap(wrapped, b"c")


def test_bytes_of_a_terminal_that_are_no_text_are_refused_without_showing_them() -> None:
    with pytest.raises(KeyRingError, match="set the locale to UTF-8") as caught:
        passphrase_of("six words and \udcff")
    assert caught.value.__cause__ is None
    assert "six words" not in "".join(traceback.format_exception_only(caught.value))


async def test_the_passphrase_is_asked_for_at_every_use() -> None:
    asked: list[str] = []

    def ask() -> KeyMaterial:
        asked.append("once")
        return passphrase_of(WORDS)

    keyring = PassphraseKeyRing(ask, CHEAP)
    await keyring.unwrap(await keyring.wrap(DATA_KEY, b"c"), b"c")
    assert len(asked) == 2


async def test_a_passphrase_that_cannot_be_had_is_told_as_it_is() -> None:
    def fail() -> KeyMaterial:
        raise KeyRingError("the passphrase file is gone")

    with pytest.raises(KeyRingError, match="is gone"):
        await PassphraseKeyRing(fail, CHEAP).wrap(DATA_KEY, b"c")


# --- the cost that a file asks for ----------------------------------------------------------------------------------


def hostile(parameters: str) -> bytes:
    """Return a line that any reader takes for whole, and that asks for this cost."""
    return envelope.close(envelope.fresh_header("passphrase", parameters), bytes(32), DATA_KEY, b"c")


@pytest.fixture
def stretched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int]]:
    """The costs at which scrypt was run; it runs at the least instead."""
    costs: list[tuple[int, int, int]] = []

    def scrypt(*, salt: bytes, length: int, n: int, r: int, p: int) -> Scrypt:
        costs.append((n, r, p))
        return Scrypt(salt=salt, length=length, n=2, r=1, p=1)

    monkeypatch.setattr(passphrase, "Scrypt", scrypt)
    return costs


@pytest.mark.parametrize(
    "cost",
    [
        ScryptCost(1 << 21, 8, 1),
        ScryptCost(1 << 24, 1, 1),
        ScryptCost(1 << 17, 65, 1),
        ScryptCost(2, 8, 17),
        ScryptCost(999_999_999, 999, 999),
        ScryptCost((1 << 20) + 1, 8, 1),
    ],
    ids=ScryptCost.text,
)
async def test_a_cost_beyond_the_bound_is_refused_before_anything_is_spent(stretched, cost) -> None:
    says = rf"asks for {cost.text()}, more than this release allows \(1024 MiB, p at most 16\); restore `data-key.json`"
    with pytest.raises(KeyRingError, match=says):
        await ring(WORDS).unwrap(hostile(cost.text()), b"c")
    assert stretched == []


@pytest.mark.parametrize("cost", [ScryptCost(1 << 20, 8, 16), ScryptCost(1 << 17, 64, 1), ScryptCost(1 << 23, 1, 1)])
async def test_a_cost_up_to_the_bound_is_tried(stretched, cost) -> None:
    with pytest.raises(KeyRingError, match="does not open"):
        await ring(WORDS).unwrap(hostile(cost.text()), b"c")
    assert stretched == [(cost.n, cost.r, cost.p)]


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "scrypt",
        "scrypt,n=2,r=1",
        "scrypt,n=2,r=1,p=1,q=1",
        "scrypt,n=-2,r=1,p=1",
        "scrypt,n=2.0,r=1,p=1",
        "scrypt,n=1e9,r=1,p=1",
        "scrypt,n=9999999999,r=1,p=1",
        "scrypt,n=2,r=1000,p=1",
        "SCRYPT,n=2,r=1,p=1",
        "hkdf-sha256",
        "argon2id,t=1",
    ],
)
async def test_a_cost_that_is_none_is_refused(stretched, parameters) -> None:
    with pytest.raises(KeyRingError, match="names no cost of scrypt; restore"):
        await ring(WORDS).unwrap(hostile(parameters), b"c")
    assert stretched == []


@pytest.mark.parametrize(
    "cost", [ScryptCost(0, 8, 1), ScryptCost(1, 8, 1), ScryptCost(3, 8, 1), ScryptCost(2, 0, 1), ScryptCost(2, 8, 0)]
)
async def test_a_cost_that_scrypt_does_not_know_is_refused(cost) -> None:
    with pytest.raises(KeyRingError, match=f"scrypt cannot run with {cost.text()}"):
        await ring(WORDS).unwrap(hostile(cost.text()), b"c")


async def test_a_machine_without_the_memory_says_how_much_it_takes(monkeypatch) -> None:
    class Starved:
        def __init__(self, **_: object) -> None:
            raise MemoryError

    monkeypatch.setattr(passphrase, "Scrypt", Starved)
    with pytest.raises(KeyRingError, match="give this process 128 MiB of memory"):
        await PassphraseKeyRing(lambda: passphrase_of(WORDS)).wrap(DATA_KEY, b"c")

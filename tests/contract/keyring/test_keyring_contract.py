"""What every key ring promises: the data key comes back under the same master key and context, and under no other."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from hashlib import sha256

import pytest

from qss.model.errors import KeyRingError
from qss.model.key_material import KeyMaterial

DATA_KEY = KeyMaterial(bytes(range(32)))
CONTEXT = b"qss data key v1\0A"


def shown(error: BaseException) -> str:
    """Return all that a traceback of the error could show."""
    texts: list[str] = []
    link: BaseException | None = error
    while link is not None:
        texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return "\n".join(texts)


def forms(secret: bytes) -> Iterator[str]:
    """Yield the ways in which a secret could be shown, each also cut to its first half."""
    for part in (secret, secret[: len(secret) // 2]):
        yield from (repr(part)[2:-1], part.hex(), base64.b64encode(part).decode().rstrip("="))


async def refusal(rings, wrapped: bytes, context: bytes = CONTEXT) -> str:
    with pytest.raises(KeyRingError) as caught:
        await rings.right.unwrap(wrapped, context)
    text = shown(caught.value)
    for secret in (*rings.secrets, DATA_KEY.reveal()):
        assert not [form for form in forms(secret) if form in text]
    return str(caught.value)


@pytest.mark.parametrize("secret", [DATA_KEY.reveal(), bytes(32), b"\xff" * 32, os.urandom(32)])
@pytest.mark.parametrize("context", [CONTEXT, b"", b":" * 1000])
async def test_what_was_wrapped_is_unwrapped(rings, secret, context) -> None:
    wrapped = await rings.right.wrap(KeyMaterial(secret), context)
    assert await rings.right.unwrap(wrapped, context) == KeyMaterial(secret)


async def test_a_wrapped_key_is_a_line_of_ascii_that_shows_no_secret(rings) -> None:
    wrapped = await rings.right.wrap(DATA_KEY, CONTEXT)
    text = wrapped.decode("ascii")
    assert text.isprintable()
    assert text.startswith(f"qss1:{rings.kind}:")
    for secret in (*rings.secrets, DATA_KEY.reveal()):
        assert not [form for form in forms(secret) if form in text]


async def test_no_two_wrappings_share_salt_nonce_or_sealed_bytes(rings) -> None:
    wrappings = [(await rings.right.wrap(DATA_KEY, CONTEXT)).split(b":") for _ in range(10)]
    for place in (3, 4, 5):
        assert len({fields[place] for fields in wrappings}) == 10


async def test_another_master_key_does_not_open_it_and_is_told_so(rings) -> None:
    wrapped = await rings.wrong.wrap(DATA_KEY, CONTEXT)
    assert "does not open this data key; give the one used at `qss init`" in await refusal(rings, wrapped)


@pytest.mark.parametrize("context", [b"", CONTEXT[:-1], CONTEXT + b"A", b"qss data key v1\0B", CONTEXT.upper()])
async def test_another_context_does_not_open_it(rings, context) -> None:
    wrapped = await rings.right.wrap(DATA_KEY, CONTEXT)
    assert "does not open this data key" in await refusal(rings, wrapped, context)


async def test_what_was_altered_at_any_byte_is_told_as_damaged(rings) -> None:
    wrapped = await rings.right.wrap(DATA_KEY, CONTEXT)
    for place in range(len(wrapped)):
        for flip in (0x01, 0x02, 0x04, 0x20, 0x80):
            altered = bytearray(wrapped)
            altered[place] ^= flip
            assert "restore `data-key.json` from a back-up" in await refusal(rings, bytes(altered)), (place, flip)


async def test_the_other_base64_alphabet_is_no_second_spelling(rings) -> None:
    for _ in range(50):
        wrapped = await rings.right.wrap(DATA_KEY, CONTEXT)
        respelled = wrapped.replace(b"-", b"+").replace(b"_", b"/")
        if respelled[-12:] != wrapped[-12:]:
            assert "damaged" in await refusal(rings, wrapped[:-12] + respelled[-12:])
            return
    pytest.fail("no checksum of fifty had a letter in which the alphabets differ")


async def test_what_lacks_its_end_or_has_more_is_told_as_damaged(rings) -> None:
    wrapped = await rings.right.wrap(DATA_KEY, CONTEXT)
    for cut in range(len(wrapped)):
        assert "damaged" in await refusal(rings, wrapped[:cut])
    for more in (b"\n", b" ", b"=", b":", b":A", b"\0", b"A" * 10_000, wrapped):
        assert "damaged" in await refusal(rings, wrapped + more)
        assert "damaged" in await refusal(rings, more + wrapped)


async def test_altered_fields_with_a_checksum_made_for_them_do_not_open(rings) -> None:
    wrapped = (await rings.right.wrap(DATA_KEY, CONTEXT)).decode()
    fields = wrapped.split(":")[:-1]
    for place in (3, 4, 5):
        content = bytearray(base64.urlsafe_b64decode(fields[place]))
        content[0] ^= 1
        altered = [*fields[:place], base64.urlsafe_b64encode(bytes(content)).decode(), *fields[place + 1 :]]
        assert "does not open this data key" in await refusal(rings, with_checksum(altered))
        cut = [*fields[:place], base64.urlsafe_b64encode(bytes(content)[:4]).decode(), *fields[place + 1 :]]
        assert "does not open this data key" in await refusal(rings, with_checksum(cut))


async def test_the_key_ring_that_sealed_it_is_named_to_another(rings, others) -> None:
    for other in others:
        message = await refusal(rings, await other.right.wrap(DATA_KEY, CONTEXT))
        assert f"sealed by the key ring '{other.kind}', not '{rings.kind}'; use that one" in message


async def test_a_later_form_is_not_guessed_at(rings) -> None:
    fields = (await rings.right.wrap(DATA_KEY, CONTEXT)).decode().split(":")[:-1]
    assert "a form that this release does not know; it knows qss1" in await refusal(
        rings, with_checksum(["qss2", *fields[1:]])
    )


def with_checksum(fields: list[str]) -> bytes:
    line = ":".join(fields)
    return f"{line}:{base64.urlsafe_b64encode(sha256(line.encode()).digest()[:8]).decode()}".encode()


@pytest.mark.parametrize("wrapped", [b"", b":", b":::::::", b"\xff" * 50, b"qss1", b"\0" * 5000, b"qss1:a:b:c:d:e:f"])
async def test_anything_else_is_told_as_damaged(rings, wrapped) -> None:
    assert "damaged" in await refusal(rings, wrapped)

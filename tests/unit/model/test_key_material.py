"""Key material shows itself to nobody but `reveal`, and is never made of a number."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.key_material import KeyMaterial

SECRET = b"correct horse battery"
MATERIAL = KeyMaterial(SECRET)


@pytest.mark.parametrize("number", [0, 5, 32, True, -1, 2.0])
def test_a_number_makes_no_key(number) -> None:
    with pytest.raises(TypeError, match="made of bytes"):
        KeyMaterial(number)


@pytest.mark.parametrize("other", [[1, 2, 3], (0,) * 32, range(4), "text", None, iter(b"ab"), MATERIAL, {}])
def test_nothing_but_bytes_makes_a_key(other) -> None:
    with pytest.raises(TypeError, match="made of bytes") as caught:
        KeyMaterial(other)
    assert "text" not in str(caught.value)


@pytest.mark.parametrize("like", [bytes, bytearray, memoryview])
def test_whatever_holds_bytes_does(like) -> None:
    assert KeyMaterial(like(SECRET)).reveal() == SECRET


def test_it_does_not_change_with_what_it_was_made_of() -> None:
    buffer = bytearray(SECRET)
    material = KeyMaterial(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert material.reveal() == SECRET
    with pytest.raises(AttributeError):
        material.more = b"x"


@pytest.mark.parametrize("place", [0, -1, len(SECRET), "0", None, (0, 1)])
def test_a_single_place_gives_nothing(place) -> None:
    with pytest.raises(TypeError, match="slices"):
        MATERIAL[place]


@given(st.slices(len(SECRET)))
def test_a_slice_is_the_secret_of_the_same_slice(part) -> None:
    assert MATERIAL[part].reveal() == SECRET[part]


@pytest.mark.parametrize("walk", [iter, list, bytes, bytearray, set, sum, tuple, reversed, max, b"".join])
def test_nobody_goes_through_it_by_accident(walk) -> None:
    with pytest.raises(TypeError):
        list(walk(MATERIAL))


def test_nothing_is_found_in_it() -> None:
    with pytest.raises(TypeError):
        assert 99 in MATERIAL


def test_equal_secrets_are_equal_and_nothing_else_is() -> None:
    assert KeyMaterial(SECRET) == MATERIAL
    assert KeyMaterial(SECRET[:-1]) != MATERIAL
    assert KeyMaterial(SECRET[:-1] + b"z") != MATERIAL
    assert MATERIAL != SECRET
    assert SECRET != MATERIAL
    assert len(MATERIAL) == len(SECRET)


def test_no_text_shows_it(caplog) -> None:
    def fail(material: KeyMaterial) -> None:
        raise ValueError(material)

    logging.getLogger("qss").warning("%s %r", MATERIAL, [MATERIAL])
    texts = [str(MATERIAL), repr(MATERIAL), f"{MATERIAL}", f"{MATERIAL!r:>40}", f"{[MATERIAL]}", caplog.text]
    try:
        fail(MATERIAL)
    except ValueError as error:
        texts += ["".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())]
    for text in texts:
        assert "secret bytes" in text
        assert "horse" not in text


@pytest.mark.parametrize("keep", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, msgspec.json.encode, hash, vars])
def test_it_is_not_written_or_hashed(keep) -> None:
    with pytest.raises(TypeError):
        keep(MATERIAL)

"""Names, and the layout of key IDs (RFC 9562, clause 5.8): version, variant, 106 random bits, 16 of position."""

from __future__ import annotations

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qss.model.errors import BadRequest, InvalidIdentifier
from qss.model.identifiers import (
    MAX_KEYS_PER_RESERVATION,
    RESERVATION_ENTROPY_BYTES,
    KeyId,
    PairId,
    ReservationId,
    StreamId,
    TransferId,
    parse_qkdm_id,
    parse_qks_id,
    parse_sae_id,
    site_of_module,
)

ENTROPY = st.binary(min_size=RESERVATION_ENTROPY_BYTES, max_size=RESERVATION_ENTROPY_BYTES)
POSITIONS = st.integers(0, MAX_KEYS_PER_RESERVATION - 1)

# --- key IDs --------------------------------------------------------------------------------------------------------


@given(ENTROPY, POSITIONS)
def test_a_key_id_is_a_uuid_of_version_8_that_ends_in_its_position(entropy, position) -> None:
    reservation = ReservationId.from_entropy(entropy)
    key_id = reservation.key_id(position)
    uuid = UUID(str(key_id))
    assert (uuid.version, uuid.variant) == (8, RFC_4122)
    assert uuid.int >> 76 & 0xF == 0b1000
    assert uuid.int >> 62 & 0b11 == 0b10
    assert uuid.int & 0xFFFF == position == key_id.position
    assert key_id.reservation == reservation
    assert reservation.key_id(0).value == reservation.value


def test_106_bits_of_the_entropy_are_in_the_id_and_the_other_22_are_not() -> None:
    none = int.from_bytes(ReservationId.from_entropy(bytes(16)).value)
    free = [
        bit for bit in range(128) if int.from_bytes(ReservationId.from_entropy((1 << bit).to_bytes(16)).value) != none
    ]
    assert len(free) == 106
    assert free == [*range(16, 62), *range(64, 76), *range(80, 128)]
    for bit in free:
        assert int.from_bytes(ReservationId.from_entropy((1 << bit).to_bytes(16)).value) == none | 1 << bit


@given(ENTROPY)
def test_keys_of_one_request_differ_in_nothing_but_the_position(entropy) -> None:
    reservation = ReservationId.from_entropy(entropy)
    assert {reservation.key_id(position).value[:-2] for position in (0, 1, 255, 256, 65_535)} == {
        entropy_part(reservation)
    }
    assert [str(reservation.key_id(p))[-4:] for p in (0, 1, 256, 65_535)] == ["0000", "0001", "0100", "ffff"]


def entropy_part(reservation: ReservationId) -> bytes:
    return reservation.value[:14]


@pytest.mark.parametrize("position", [-1, MAX_KEYS_PER_RESERVATION, 1 << 40])
def test_there_are_65536_positions(position) -> None:
    with pytest.raises(InvalidIdentifier, match="0 to 65535"):
        ReservationId.from_entropy(bytes(16)).key_id(position)


@given(st.binary(min_size=16, max_size=16))
def test_any_uuid_is_a_key_id_and_version_8_alone_names_a_reservation(value) -> None:
    key_id = KeyId.parse(str(UUID(bytes=value)))
    assert key_id.value == value
    reservation = key_id.reservation
    assert (reservation is None) == (UUID(bytes=value).version != 8)
    if reservation is not None:
        assert reservation.key_id(key_id.position) == key_id


@given(ENTROPY, st.integers(0, 127))
def test_a_reservation_id_has_its_fixed_bits(entropy, bit) -> None:
    value = int.from_bytes(ReservationId.from_entropy(entropy).value)
    changed = (value ^ (1 << bit)).to_bytes(16)
    if 62 <= bit < 64 or 76 <= bit < 80 or bit < 16:
        with pytest.raises(InvalidIdentifier):
            ReservationId(changed)
    else:
        assert ReservationId(changed).value == changed


@pytest.mark.parametrize("size", [0, 15, 17, 32])
@pytest.mark.parametrize("kind", [KeyId, StreamId, PairId, TransferId, ReservationId])
def test_an_id_has_16_bytes(kind, size) -> None:
    with pytest.raises(InvalidIdentifier):
        kind(bytes(size))


@given(st.uuids())
def test_upper_and_lower_case_name_the_same_key(uuid) -> None:
    assert KeyId.parse(str(uuid).upper()) == KeyId.parse(str(uuid)) == KeyId(uuid.bytes)
    assert str(KeyId.parse(str(uuid).upper())) == str(uuid)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0bd1c4a56a3f8b0e9d5727f3a1c60000",
        "{0bd1c4a5-6a3f-8b0e-9d57-27f3a1c60000}",
        "urn:uuid:0bd1c4a5-6a3f-8b0e-9d57-27f3a1c60000",
        "0bd1c4a5-6a3f-8b0e-9d57-27f3a1c60000\n",
        " 0bd1c4a5-6a3f-8b0e-9d57-27f3a1c60000",
        "0bd1c4a5-6a3f-8b0e-9d57-27f3a1c6000",
        "0bd1c4a5-6a3f-8b0e-9d57-27f3a1c6000g",
        "0bd1c4a56-a3f-8b0e-9d57-27f3a1c60000",
        "\u0660bd1c4a5-6a3f-8b0e-9d57-27f3a1c60000",
        "x" * 10_000,
    ],
)
def test_other_forms_of_a_uuid_are_refused_in_a_short_message(text) -> None:
    with pytest.raises(BadRequest, match="is no UUID") as caught:
        KeyId.parse(text)
    assert len(str(caught.value)) < 150


@given(ENTROPY)
def test_a_stream_id_is_a_uuid_of_version_4(entropy) -> None:
    uuid = UUID(str(StreamId.from_entropy(entropy)))
    assert (uuid.version, uuid.variant) == (4, RFC_4122)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["A", "0", "a.b-c_D9", "x" * 63])
def test_a_qks_id_is_taken_as_it_is(text) -> None:
    assert parse_qks_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 64, ".a", "-a", "_a", "a b", "a/b", "a:b", "a\n", "é", "A" * 10_000])
def test_what_is_no_qks_id_is_refused(text) -> None:
    with pytest.raises(InvalidIdentifier, match="is no QKS ID: use 1 to 63") as caught:
        parse_qks_id(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["A/1", "a.b-c_D9/x.y", "x" * 63 + "/" + "y" * 63])
def test_a_modules_name_is_taken_as_it_is_and_tells_its_site(text) -> None:
    assert parse_qkdm_id(text) == text
    assert site_of_module(parse_qkdm_id(text)) == text.split("/")[0]


@pytest.mark.parametrize(
    "text", ["", "A", "A/", "/1", "A/1/2", "A//1", "A/..", "../1", "A /1", "A/1\n", "A/" + "x" * 64]
)
def test_what_is_no_modules_name_is_refused(text) -> None:
    with pytest.raises(InvalidIdentifier, match="is no module's name: use its site's QKS ID"):
        parse_qkdm_id(text)


@pytest.mark.parametrize("text", ["a", "sae:alice", "!", "~", "*", "https://sae.example/1?x=%20", "x" * 255])
def test_an_sae_id_is_taken_as_it_is(text) -> None:
    assert parse_sae_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 256, "a b", "a\n", "\x7f", "\0", "é", "a\u200b"])
def test_what_is_no_sae_id_is_refused(text) -> None:
    with pytest.raises(InvalidIdentifier, match="is no SAE ID: use 1 to 255"):
        parse_sae_id(text)


@given(st.text(max_size=300))
def test_names_hold_nothing_that_a_log_or_path_would_stumble_over(text) -> None:
    for parse in (parse_qks_id, parse_qkdm_id, parse_sae_id):
        try:
            name = parse(text)
        except InvalidIdentifier:
            continue
        assert name.isascii()
        assert name.isprintable()
        assert " " not in name
        assert len(name) <= 255

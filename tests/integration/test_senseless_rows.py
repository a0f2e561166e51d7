"""A ledger in which somebody, or something, has changed a row: a start says so, with a remedy, and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from qss.model.errors import StoreDamaged
from qss.model.keys import KeyRequest
from support.pki import Pki
from support.two_sites import ALICE, BOB, TwoSites

UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
SENSELESS = [
    ("UPDATE streams SET delivered_bits = delivered_bits + 1", f"the ledger's row of key stream {UUID} does not bal"),
    ("UPDATE streams SET head = mark + 8", f"the ledger's row of key stream {UUID} does not balance"),
    ("UPDATE streams SET stream = x'00'", r"\.sqlite is damaged: a row of streams makes no sense"),
    ("UPDATE streams SET burned_bits = '[]'", r"\.sqlite is damaged: a row of streams makes no sense"),
    ("UPDATE streams SET burned_bits = '{'", r"\.sqlite is damaged: a row of streams makes no sense"),
    ("UPDATE reservations SET side = 'both'", r"\.sqlite is damaged: a row of reservations makes no sense"),
    ("UPDATE reservations SET fetched = '[\"x\"]'", r"\.sqlite is damaged: a row of reservations makes no sense"),
    ("DELETE FROM streams", f"the ledger has keys of key stream {UUID}, but not the stream"),
    ("UPDATE answers SET keys = '7'", r"\.sqlite is damaged: a row of answers makes no sense"),
]


def change(path: Path, statement: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(statement)
    assert connection.changes()
    connection.close()


async def test_a_start_on_a_senseless_row_says_which_and_what_to_do(tmp_path) -> None:
    async with TwoSites(tmp_path, Pki(tmp_path / "pki")) as sites:
        await sites.until_keys(1)
        keys = await sites.a.key_server.get_key(ALICE, BOB, KeyRequest(number=2))
        await sites.b.take(BOB, ALICE, (keys[0].key_id,), "a name")
        await sites.disconnect()
        await sites.b.stop()
        whole = sites.b.path.read_bytes()
        for statement, says in SENSELESS:
            sites.b.path.write_bytes(whole)
            change(sites.b.path, statement)
            with pytest.raises(StoreDamaged, match=says) as raised:
                await sites.b.start()
            assert "; restore the data folder from a back-up" in str(raised.value)
            assert not re.search(r"Record\(|Tally\(|b'", str(raised.value))
        sites.b.path.write_bytes(whole)
        await sites.b.start()

"""The page on key streams and the codecs say the same: every message, its members, and the limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from qss.core.keyserver import stream_register, stream_supply
from qss.runtime.key_streams.key_stream import CHUNK_BYTES, MAX_DIFFERENT
from qss.wire import stream_device, stream_meeting

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "key-streams.md").read_text(encoding="utf-8")


def told() -> dict[str, list[str]]:
    """The messages of the page's tables, each with the members that it names."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| ", PAGE, re.MULTILINE)
    return {name: re.findall(r"`(\w+)`", members) for name, members in rows}


def test_the_page_has_every_message_with_its_members() -> None:
    kinds = (*get_args(stream_meeting.Message), *get_args(stream_device.Message))
    assert told() == {kind.__struct_config__.tag: list(kind.__struct_fields__) for kind in kinds}
    assert {f"`{reason}`" for reason in stream_meeting.Reason} <= set(re.findall(r"`[\w-]+`", PAGE))


def test_the_page_has_the_limits() -> None:
    text = " ".join(PAGE.split())
    for said in (
        f"a site {stream_register.MAX_STREAMS} in all",
        f"An SAE may have {stream_register.MAX_OF_ONE} streams at a time",
        f"the last {stream_register.MAX_USED:,} are concerned",
        f"`limit`: {stream_register.MAX_WAITING_OF_SITE} of one site, {stream_register.MAX_WAITING} in all",
        f"at most {stream_meeting.MAX_MEETING_BYTES:,} bytes",
        f"that nobody asks for is {CHUNK_BYTES} bytes",
    ):
        assert said in text
    assert MAX_DIFFERENT == 8
    assert "the eighth" in text
    for number in (
        stream_supply.MIN_BLOCK_BYTES,
        stream_supply.MAX_BLOCK_BYTES,
        stream_supply.Supply(1 << 16).lead,
        stream_supply.Supply(32).lead,
    ):
        assert re.search(rf"\b{number:,}\b", PAGE), number
    assert f"`{stream_meeting.SUBPROTOCOL}`" in PAGE

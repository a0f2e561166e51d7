"""Frames of QRP: whatever comes, it is messages or refused, and messages survive being sent."""

from __future__ import annotations

from qss.model.errors import RemoteProtocolError
from qss.wire import qrp

_PAIR = b"p" * 16
_CARD = qrp.DeviceCard(
    "simulator",
    running=True,
    rate_bps=4e5,
    qber=0.02,
    simulated=True,
    seeded=False,
    lost_bits=0,
    left_bits=None,
    note="",
)
_STATE = qrp.PairState(
    _PAIR,
    exchange=True,
    phase=qrp.StreamPhase.RUNNING,
    stream=b"s" * 16,
    chunk_bytes=64,
    security="TLSv1.3",
    device=_CARD,
    owed_s=7,
    counts={"read": 1024},
    unhealthy={"cycle": 1},
)


def seeds() -> list[bytes]:
    """Return a frame of each message."""
    messages: tuple[qrp.Message, ...] = (
        qrp.Register("A/1", (qrp.Claim(_PAIR, "B"),), _CARD, "127.0.0.1", 25575, "0.1.0"),
        qrp.Accepted((_PAIR,)),
        qrp.Refused("not configured"),
        qrp.Start(_PAIR),
        qrp.Stop(_PAIR),
        qrp.Information((_STATE,)),
        qrp.Deregister("it stops"),
    )
    return [qrp.encode([message]) for message in messages]


def one(data: bytes) -> None:
    """Decode `data` but for its first byte. Raises `AssertionError` for what must not be."""
    try:
        messages = qrp.decode(data[1:])
    except RemoteProtocolError:
        return
    assert qrp.decode(qrp.encode(messages)) == messages, "messages do not survive being sent"

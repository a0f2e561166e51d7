"""What a log event has to say, as the JSON object that goes into the audit log: short, and always something.

Texts are cut as in the ordinary log. A value that JSON does not know stands there as its text, bytes as their number:
whatever they are, they do not belong into a log.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from qss.app.log_budget import cut
from qss.wire.audit import MAX_FIELDS_BYTES

MAX_FIELDS = 100
"""Most fields of one event."""

_ENCODER = msgspec.json.Encoder(enc_hook=lambda value: cut(str(value)))


def encoded(fields: Mapping[str, object]) -> bytes:
    """Return the fields of an event, with at most `MAX_FIELDS_BYTES`."""
    try:
        whole = _ENCODER.encode({name: _short(value) for name, value in fields.items()})
    except (TypeError, ValueError, RecursionError):  # names that are none, text that is none, what refers to itself
        whole = None
    if whole is not None and len(whole) <= MAX_FIELDS_BYTES:
        return whole
    told = list(fields.items())[:MAX_FIELDS]
    return _ENCODER.encode({cut(ascii(name)): cut(ascii(_short(value))) for name, value in told})


def _short(value: object) -> object:
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{memoryview(value).nbytes} bytes>"
    return value

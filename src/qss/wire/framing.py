"""What the frames of External, Sync and QRP have in common: how one is decoded, and how many messages one takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from qss.model.errors import RemoteProtocolError


def decode_frame[T](decoder: msgspec.msgpack.Decoder[T], frame: bytes, max_bytes: int, subprotocol: str) -> T:
    """Return what `frame` holds. Raises `RemoteProtocolError` if it is too large, or none of `subprotocol`."""
    if len(frame) > max_bytes:
        raise RemoteProtocolError(f"a frame of {len(frame)} bytes exceeds the limit of {max_bytes} of {subprotocol}")
    try:
        return decoder.decode(frame)
    except (ValueError, RecursionError):  # msgspec's errors and UnicodeDecodeError are ValueErrors
        # What msgspec says of the frame may quote it, at length, and a device frame may be secret.
        raise RemoteProtocolError(
            f"what came is no frame of {subprotocol}; run the same release at both ends"
        ) from None


def fitting_runs[M](
    messages: Iterable[M], size: Callable[[M], int], max_bytes: int, max_messages: int
) -> list[tuple[M, ...]]:
    """Part `messages`, in order, into runs of at most `max_bytes` by `size`, and at most `max_messages`.

    One that is larger by itself gets a run of its own: that it does not fit shows when it is encoded.
    """
    runs: list[list[M]] = []
    room = 0
    for message in messages:
        needed = size(message)
        if not runs or needed > room or len(runs[-1]) == max_messages:
            runs.append([])
            room = max_bytes
        runs[-1].append(message)
        room -= needed
    return [tuple(run) for run in runs]

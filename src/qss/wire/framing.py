"""What the frames of External and Sync have in common: each takes messages until one of its limits is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable


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

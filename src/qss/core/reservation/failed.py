"""What a link answers that relies on its memory no more: every ask is refused, and nothing else is heeded."""

from __future__ import annotations

from qss.core.reservation import events as ev
from qss.model.errors import QssError


def failed(event: ev.Event, failure: QssError) -> ev.Effects:
    """Return what is to be done about an event: whoever asks gets the error, and key that comes is given up."""
    match event:
        case ev.Reserve():
            return (ev.Refused(event.reservation, failure),)
        case ev.Fetch():
            return (ev.Refused(event.request, failure),)
        case ev.Recall():
            return (ev.Refused(event.request, failure),)
        case ev.Draw():
            return (ev.DrawFailed(event.draw, ev.DrawFailure.STOPPED, own=True, purpose=event.purpose),)
        case ev.KeyArrived() | ev.CoverOpened():
            return (ev.Discard(event.handle),)
        case ev.SourceOpened():
            return (ev.CloseSource(event.pair, event.stream),)
        case _:
            return ()

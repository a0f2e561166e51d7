"""What nobody expected of a device's adapter: it ends the key stream, and no more. No core is half changed by it.

What is behind an adapter is a vendor's box, a file, the other end: whatever one of these says must not end a site.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from structlog.typing import FilteringBoundLogger

from qss.model.errors import DeviceError, QssError, place_of


@contextmanager
def adapter_faults(log: FilteringBoundLogger) -> Iterator[None]:
    """Raise `DeviceError` for an exception of no kind that the port knows, and log its type and place."""
    try:
        yield
    except QssError:
        raise
    except Exception as error:
        kind, place = type(error).__name__, place_of(error)
        log.error("the device's adapter failed: this is a defect in qss", error=kind, place=place)  # noqa: TRY400
        raise DeviceError(f"its adapter failed ({kind})") from error

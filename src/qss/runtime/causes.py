"""What goes wrong again and again is logged once for each cause, not once for each attempt."""

from __future__ import annotations

import re
from collections.abc import Hashable

_NUMBERS = re.compile(r"\d+")


class Causes:
    """The last cause of each subject's trouble. Texts that differ in numbers alone are one cause."""

    def __init__(self) -> None:
        self._last: dict[Hashable, str] = {}

    def is_new(self, subject: Hashable, text: str) -> bool:
        """Note why `subject` is in trouble; return whether that was not so the last time."""
        cause = _NUMBERS.sub("#", text)
        if self._last.get(subject) == cause:
            return False
        self._last[subject] = cause
        return True

    def over(self, subject: Hashable) -> None:
        """The subject is out of trouble, or gone: whatever comes next is new."""
        self._last.pop(subject, None)

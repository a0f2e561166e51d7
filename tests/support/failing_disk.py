"""A disk that fails, or a power cut, at a chosen step: the calls by which Python code changes files, counted."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

STEPS = ("open", "mkdir", "rename", "replace", "fsync", "link")
"""Functions of `os` that change a file or folder, or make it durable. SQLite's own are not among them."""


class PowerCut(BaseException):
    """Everything ends here: nothing is cleaned up."""


class FailingDisk:
    """While `at` is a number, the step of that number, counted from 0 by `arm`, raises `error`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._at: int | None = None
        self._error: BaseException = OSError()
        self._left_alone = {name: getattr(os, name) for name in STEPS}
        self.taken: list[str] = []
        self.synced: list[int] = []
        """Inodes, in the order in which they were made durable."""
        for name in STEPS:
            monkeypatch.setattr(os, name, self._step(name))
        for clean in ("unlink", "rmdir"):
            monkeypatch.setattr(os, clean, self._unless_cut(getattr(os, clean)))
        monkeypatch.setattr(shutil, "rmtree", self._unless_cut(shutil.rmtree))

    def arm(self, at: int | None, error: BaseException) -> None:
        """Let step `at` from now on raise `error`; None: no step."""
        self.taken, self.synced = [], []
        self._at, self._error = at, error

    def disarm(self) -> None:
        """The disk works again, or the machine is up again."""
        self.arm(None, OSError())

    @property
    def failed(self) -> bool:
        """Whether the step came that was to fail."""
        return self._at is not None and len(self.taken) > self._at

    def _step(self, name: str) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            place = len(self.taken)
            self.taken.append(name)
            if place == self._at or (self.failed and isinstance(self._error, PowerCut)):
                raise self._error
            if name == "fsync":
                self.synced.append(os.fstat(args[0]).st_ino)
            return self._left_alone[name](*args, **named)

        return step

    def _unless_cut(self, clean: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **named: Any) -> Any:
            if self.failed and isinstance(self._error, PowerCut):
                raise self._error
            return clean(*args, **named)

        return step


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond `size` bytes: a disk that is full for SQLite as well."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

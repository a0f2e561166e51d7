"""Text that others have chosen, made fit for a terminal: it must not steer it."""

from __future__ import annotations


def printable(text: str) -> str:
    """Return `text` with a mark in the place of whatever has no shape of its own."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)

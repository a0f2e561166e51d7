"""Trouble that repeats itself is told once."""

from __future__ import annotations

from qss.runtime.causes import Causes


def test_a_cause_is_new_once_whatever_its_numbers() -> None:
    causes = Causes()
    assert causes.is_new("A", "left alone for 300 s more")
    assert not causes.is_new("A", "left alone for 7 s more")
    assert causes.is_new("B", "left alone for 7 s more")
    assert causes.is_new("A", "no connection")
    assert causes.is_new("A", "left alone for 300 s more")


def test_after_the_end_of_trouble_all_is_new() -> None:
    causes = Causes()
    assert causes.is_new("A", "no connection")
    causes.over("A")
    assert causes.is_new("A", "no connection")
    causes.over("B")

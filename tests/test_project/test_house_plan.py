"""The import contracts say what the architecture page says, for every room that exists."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "explanation" / "architecture.md"
ROOMS = ROOT / "src" / "qss"


def table() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `([\w.]+)` \| .*? \| ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {room: set(re.findall(r"`([\w.]+)`", allowed)) for room, allowed in rows}


def built(names: set[str]) -> set[str]:
    return {name for name in names if ROOMS.joinpath(*name.split(".")).is_dir()}


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter", encoding="utf-8")
    return parser


def within(room: str, names: set[str]) -> bool:
    return any(room == name or room.startswith(name + ".") for name in names)


def modules(text: str) -> set[str]:
    return {name.removeprefix("qss.") for name in text.split()}


def folders(*path: str) -> set[str]:
    return {".".join([*path, init.parent.name]) for init in ROOMS.joinpath(*path).glob("*/__init__.py")}


def test_every_folder_is_a_room() -> None:
    assert (folders() - {"core"}) | folders("core") == built(set(table()))


def test_nothing_stands_between_the_rooms() -> None:
    assert {file.name for file in ROOMS.glob("*.py")} == {"__init__.py", "__main__.py"}
    assert {file.name for file in (ROOMS / "core").glob("*.py")} == {"__init__.py"}


@pytest.mark.parametrize("room", sorted(built(set(table()))))
def test_a_room_may_import_what_its_row_says(room: str) -> None:
    plan = table()
    not_allowed = {other for other in built(set(plan)) - {room} if not within(other, plan[room])}
    section = f"importlinter:contract:room-{room}"
    parser = contracts()
    if not parser.has_section(section):
        assert not not_allowed
        return
    assert parser[section]["type"] == "forbidden"
    assert modules(parser[section]["source_modules"]) == {room}
    forbidden = modules(parser[section]["forbidden_modules"])
    assert {other for other in built(set(plan)) if within(other, forbidden)} == not_allowed
    assert "ignore_imports" not in parser[section]


def test_every_contract_of_a_room_has_a_row() -> None:
    prefix = "importlinter:contract:room-"
    named = {section.removeprefix(prefix) for section in contracts().sections() if section.startswith(prefix)}
    assert named <= set(table())

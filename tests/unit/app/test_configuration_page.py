"""The reference page of the configuration and the code say the same: every key, default and allowed value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from qss.app.configuration import load
from qss.app.site_tables import SiteConfiguration
from qss.app.toml_decoding import describe

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "configuration.md"

Rows = dict[str, tuple[str, str]]


def structs(kind: inspect.Type) -> Iterator[inspect.StructType]:
    match kind:
        case inspect.StructType():
            yield kind
        case inspect.Metadata(inner):
            yield from structs(inner)
        case inspect.UnionType(members):
            for member in members:
                yield from structs(member)
        case inspect.VarTupleType(item):
            yield from structs(item)


def heading(name: str, kind: inspect.Type, struct: inspect.StructType) -> str:
    if name.endswith("device"):
        return f'`device = {{ type = "{struct.tag}", … }}`'
    if struct.tag:
        return f'`type = "{struct.tag}"`'
    return f"`[[{name}]]`" if isinstance(kind, inspect.VarTupleType) else f"`[{name}]`"


def default(field: inspect.Field) -> str | None:
    """What the page must say; None where it explains the default in words."""
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT or field.default is None or isinstance(field.default, tuple):
        return (
            None
            if not isinstance(field.default, tuple) or not field.default
            else str(list(field.default)).replace("'", '"')
        )
    return (
        f'"{field.default}"'
        if isinstance(field.default, str)
        else f"{field.default:g}"
        if isinstance(field.default, float)
        else str(field.default)
    )


def tables_of_the_code() -> dict[str, dict[str, tuple[str | None, str]]]:
    found: dict[str, dict[str, tuple[str | None, str]]] = {}

    def visit(title: str, struct: inspect.StructType, within: str = "") -> None:
        found[title] = {f.encode_name: (default(f), describe(f.type)) for f in struct.fields}
        for field in struct.fields:
            for inner in structs(field.type):
                name = within + field.encode_name
                visit(heading(name, field.type, inner), inner, f"{name}.")

    (root,) = structs(inspect.type_info(SiteConfiguration))
    visit("The file", root)
    return found


def tables_of_the_page() -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for section in re.split(r"^##+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .+ \|$", section, re.MULTILINE)
        if rows:
            found[title] = {key: (default.strip("`"), allowed) for key, default, allowed in rows}
    return found


def test_page_and_code_have_the_same_tables() -> None:
    assert list(tables_of_the_page()) == list(tables_of_the_code())


@pytest.mark.parametrize("title", tables_of_the_code())
def test_page_and_code_have_the_same_keys(title: str) -> None:
    page, code = tables_of_the_page()[title], tables_of_the_code()[title]
    assert {key: allowed for key, (_, allowed) in page.items()} == {key: allowed for key, (_, allowed) in code.items()}
    stated = {key: default for key, (default, _) in code.items() if default is not None}
    assert {key: page[key][0] for key in stated} == stated
    assert all(default != "required" for key, (default, _) in page.items() if key not in stated)


def test_the_example_of_the_page_loads(tmp_path: Path) -> None:
    match = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match
    (tmp_path / "site.toml").write_text(match[1], encoding="utf-8")
    assert load(tmp_path / "site.toml").site.id == "A"

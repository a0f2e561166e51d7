"""The reference pages of the configurations and the code say the same: every key, default and allowed value."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from msgspec import inspect

from qss.app import configuration, module_configuration, routing_tables
from qss.app.module_tables import ModuleConfiguration
from qss.app.routing_tables import RoutingConfiguration
from qss.app.site_tables import SiteConfiguration
from qss.app.toml_decoding import describe

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
KINDS: dict[str, type[msgspec.Struct]] = {
    "configuration.md": SiteConfiguration,
    "module.md": ModuleConfiguration,
    "routing.md": RoutingConfiguration,
}

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
        else f"{field.default:.15g}"
        if isinstance(field.default, float)
        else str(field.default).lower()
        if isinstance(field.default, bool)
        else str(field.default)
    )


def tables_of_the_code(page: str) -> dict[str, dict[str, tuple[str | None, str]]]:
    found: dict[str, dict[str, tuple[str | None, str]]] = {}

    def visit(title: str, struct: inspect.StructType, within: str = "") -> None:
        found[title] = {f.encode_name: (default(f), describe(f.type)) for f in struct.fields}
        for field in struct.fields:
            if page == "module.md" and field.encode_name == "device":
                continue  # the page refers to the site's
            for inner in structs(field.type):
                name = within + field.encode_name
                visit(heading(name, field.type, inner), inner, f"{name}.")

    (root,) = structs(inspect.type_info(KINDS[page]))
    visit("The file", root)
    return found


def tables_of_the_page(page: str) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    for section in re.split(r"^##+ ", (REFERENCE / page).read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| .+ \|$", section, re.MULTILINE)
        if rows:
            found[title] = {key: (default.strip("`"), allowed) for key, default, allowed in rows}
    return found


@pytest.mark.parametrize("page", KINDS)
def test_page_and_code_have_the_same_tables(page: str) -> None:
    assert list(tables_of_the_page(page)) == list(tables_of_the_code(page))


@pytest.mark.parametrize(("name", "title"), [(page, title) for page in KINDS for title in tables_of_the_code(page)])
def test_page_and_code_have_the_same_keys(name: str, title: str) -> None:
    page, code = tables_of_the_page(name)[title], tables_of_the_code(name)[title]
    assert {key: allowed for key, (_, allowed) in page.items()} == {key: allowed for key, (_, allowed) in code.items()}
    stated = {key: default for key, (default, _) in code.items() if default is not None}
    assert {key: page[key][0] for key in stated} == stated
    assert all(default != "required" for key, (default, _) in page.items() if key not in stated)


def example(page: str, folder: Path) -> Path:
    match = re.search(r"```toml\n(.*?)```", (REFERENCE / page).read_text(encoding="utf-8"), re.DOTALL)
    assert match
    (folder / "example.toml").write_text(match[1], encoding="utf-8")
    return folder / "example.toml"


def test_the_examples_of_the_pages_load(tmp_path: Path) -> None:
    assert configuration.load(example("configuration.md", tmp_path)).site.id == "A"
    assert routing_tables.load(example("routing.md", tmp_path)).links[0].peer == "B"
    assert module_configuration.load(example("module.md", tmp_path)).module.id == "A/1"

"""A TOML file as a typed msgspec struct, and every fault in it as a `ConfigurationError`.

Held here: reading, decoding, and the words for what is wrong and what is allowed. What a site's configuration *is*
stands in `configuration`. Refused: unknown keys, missing keys, wrong types, values out of range; nothing is guessed
or converted. A value whose type carries `SECRET` is never shown, whatever is wrong with it.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from qss.model.addresses import Address
from qss.model.errors import ConfigurationError

SECRET = msgspec.Meta(extra={"secret": True})
"""Marks a field whose value must not be shown in an error."""

_SHOWN_CHARACTERS = 60


def decode_file[T](file: Path, kind: type[T]) -> T:
    """Read `file` as a `kind`, a msgspec struct. Relative paths in it are relative to the file's folder.

    Raises `ConfigurationError` for whatever is wrong with the file or in it.
    """
    document = _read(file)
    folder = file.absolute().parent

    def from_text(wanted: type[Any], value: object) -> object:
        if not isinstance(value, str) or not value or "\0" in value:
            raise ValueError("text is wanted")
        return Address.parse(value) if wanted is Address else folder / value

    try:
        return msgspec.convert(document, kind, dec_hook=from_text)
    except msgspec.ValidationError as error:
        raise _explain(file, document, kind, str(error)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(str(file), "", "no such file", "the path of a TOML file") from None
    except OSError as error:
        found = f"a file that cannot be read ({error.strerror})"
        raise ConfigurationError(str(file), "", found, "the path of a TOML file that this user may read") from None
    except UnicodeDecodeError as error:
        found = f"a byte that is no UTF-8 at position {error.start}"
        raise ConfigurationError(str(file), "", found, "TOML 1.0, which is UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(str(file), "", f"a TOML syntax error: {error}", "TOML 1.0") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists nested as deep
        found = "a number too long or tables too deep to read"
        raise ConfigurationError(str(file), "", found, "TOML 1.0, whole numbers of 64 bits") from None


# --- what is wrong -------------------------------------------------------------------------------------------------


def _explain(file: Path, document: dict[str, Any], kind: type[Any], message: str) -> ConfigurationError:
    """Turn msgspec's words, `<what> - at `$<path>``, into the four parts of a `ConfigurationError`."""
    what, _, path = message.removesuffix("`").partition(" - at `$")
    key = path.removeprefix(".")
    place, value, secret = _follow(inspect.type_info(kind), document, path)
    if match := re.fullmatch(r"Object contains unknown field `(.*)`?", what, re.DOTALL):
        name = match[1].removesuffix("`")
        return ConfigurationError(
            str(file), _join(key, _excerpt(name)), "an unknown key", _known_keys(place, value, name)
        )
    if match := re.fullmatch(r"Object missing required field `(.*?)`?", what):
        missing, _, _ = _follow(place, value, f".{match[1]}")
        return ConfigurationError(str(file), _join(key, match[1]), "nothing", describe(missing))
    found = _kind_of(value) if secret else shown(value)
    return ConfigurationError(str(file), key, found, describe(place))


def _follow(place: inspect.Type, value: object, path: str) -> tuple[inspect.Type, object, bool]:
    """Return the type and the value at `path`, and whether any type on the way is marked `SECRET`."""
    place, secret = _unwrap(place)
    for name, index in re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", path):
        if index:
            assert isinstance(place, inspect.VarTupleType)
            assert isinstance(value, list)
            place, value = place.item_type, value[int(index)]
        else:
            struct = _struct_for(place, value)
            value = value.get(name) if isinstance(value, dict) else None
            if struct is None or name == struct.tag_field:
                place = inspect.LiteralType(tuple(s.tag for s in _structs(place)))
            else:
                place = next(field.type for field in struct.fields if field.encode_name == name)
        place, marked = _unwrap(place)
        secret = secret or marked
    return place, value, secret


def _unwrap(place: inspect.Type) -> tuple[inspect.Type, bool]:
    """Take off the wrappers of an annotated or optional type; tell whether one says `SECRET`."""
    secret = False
    while True:
        if isinstance(place, inspect.Metadata):
            secret = secret or bool((place.extra or {}).get("secret"))
            if place.extra_json_schema:
                return place, secret  # it brings its own description
            place = place.type
        elif isinstance(place, inspect.UnionType) and len(kept := _without_none(place)) == 1:
            place = kept[0]
        else:
            return place, secret


def _without_none(union: inspect.UnionType) -> list[inspect.Type]:
    return [member for member in union.types if not isinstance(member, inspect.NoneType)]


def _structs(place: inspect.Type) -> Iterator[inspect.StructType]:
    members = place.types if isinstance(place, inspect.UnionType) else (place,)
    for member in members:
        if isinstance(member, inspect.StructType):
            yield member


def _struct_for(place: inspect.Type, value: object) -> inspect.StructType | None:
    """Return the struct that the table `value` stands for: of a tagged union, the one that its tag names."""
    for struct in _structs(place):
        if struct.tag_field is None or (isinstance(value, dict) and value.get(struct.tag_field) == struct.tag):
            return struct
    return None


def _known_keys(place: inspect.Type, value: object, name: str) -> str:
    struct = _struct_for(place, value)
    known = sorted(_keys(struct)) if struct else []
    nearest = difflib.get_close_matches(name, known, n=1)
    return f"{nearest[0]!r}, perhaps; the keys here are {', '.join(known)}" if nearest else ", ".join(known)


def _keys(struct: inspect.StructType) -> Iterator[str]:
    if struct.tag_field:
        yield struct.tag_field
    yield from (field.encode_name for field in struct.fields)


# --- the words for it ----------------------------------------------------------------------------------------------


def describe(place: inspect.Type) -> str:
    """Say in words what a type allows. The reference page of the configuration uses the same words."""
    place, _ = _unwrap(place)
    match place:
        case inspect.Metadata(extra_json_schema={"description": text}):
            return str(text)
        case inspect.IntType():
            return "a whole number" + _bounds(place)
        case inspect.FloatType():
            return "a number" + _bounds(place)
        case inspect.BoolType():
            return "true or false"
        case inspect.UUIDType():
            return "a UUID, such as `uuidgen` prints"
        case inspect.LiteralType(values):
            return "one of " + ", ".join(f'"{value}"' for value in values)
        case inspect.VarTupleType(item, min_length=least, max_length=most):
            least_said, most_said = f" of at least {least}" if least else "", f" of at most {most}" if most else ""
            return f"a list{least_said}{most_said}, each item {describe(item)}"
        case inspect.StructType():
            return "a table with " + ", ".join(_keys(place))
        case inspect.UnionType():
            return "a table whose type is " + describe(inspect.LiteralType(tuple(s.tag for s in _structs(place))))
        case inspect.CustomType(cls) if cls is Address:
            return "host:port, an IPv6 host in brackets, port 0 to 65535"
        case inspect.CustomType():
            return "a path, relative to this file's folder if not absolute"
        case _:
            return "a string"


def _bounds(number: inspect.IntType | inspect.FloatType) -> str:
    words = []
    if number.gt is not None:
        words.append(f"above {number.gt}")
    if number.ge is not None:
        words.append(f"from {number.ge}")
    if number.le is not None:
        words.append(f"to {number.le}")
    if number.multiple_of is not None:
        words.append(f"a multiple of {number.multiple_of}")
    return "".join(
        f" {word}" if position == 0 or word[:2] == "to" else f", {word}" for position, word in enumerate(words)
    )


def shown(value: object) -> str:
    """Quote and shorten what a file says. Lists and tables are only named."""
    if isinstance(value, dict | list):
        return _kind_of(value)
    return _excerpt(repr(value).lower() if isinstance(value, bool) else repr(value))


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case dict():
            return "a table"
        case list():
            return f"a list of {len(value)}"
        case str():
            return f"a string of {len(value)} characters"
        case _:
            return "something that is no string, list or table"


def _excerpt(text: str) -> str:
    printable = "".join(c if c.isprintable() else "�" for c in text)
    return printable if len(printable) <= _SHOWN_CHARACTERS else printable[:_SHOWN_CHARACTERS] + "…"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name

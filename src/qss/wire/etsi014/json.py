"""JSON of a caller, read without trust: every way in which it can be wrong becomes one `BadRequest`."""

from __future__ import annotations

import msgspec

from qss.model.errors import BadRequest


def decode_json[T](body: bytes, shape: type[T]) -> T:
    """Return `body` as `shape`. Members that `shape` does not name are ignored; of repeated ones the last counts.

    Raises `BadRequest` for text that is not UTF-8, not JSON, nested too deeply, or of another shape. Integers are
    integers: `true`, `1e3` and `"3"` are none.
    """
    try:
        body.decode("utf-8")  # msgspec does not look into the strings that it skips
        return msgspec.json.decode(body, type=shape)
    except UnicodeDecodeError:
        raise BadRequest("the body is not UTF-8: send JSON in UTF-8") from None
    except msgspec.ValidationError as error:
        # The texts of ValidationError name types and places, never values.
        raise BadRequest(f"the body has another shape than the standard's data model: {error}") from None
    except msgspec.DecodeError:
        raise BadRequest("the body is no well-formed JSON: send one JSON object in UTF-8") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply: send the data model of the standard") from None

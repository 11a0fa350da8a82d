"""JSON as text in: numbers never pass through float, and nothing PostgreSQL could not store gets through."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn

from cardwright.kernel.errors import InvalidRequestError


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


def _storable(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= char <= "\udfff" for char in value)
    if isinstance(value, list):
        return all(_storable(item) for item in value)
    if isinstance(value, dict):
        return all(_storable(name) and _storable(item) for name, item in value.items())
    return True


# Built once: json.loads with options builds a decoder for every call.
_DECODER = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_refuse_twins)
# A text as a JSON string, quotes included; ASCII only. For the few documents that are written too often to build an encoder each.
quote: Callable[[str], str] = json.encoder.encode_basestring_ascii


def parse(body: bytes) -> Any:
    """Parse JSON (RFC 8259, UTF-8); numbers become int or Decimal.

    Raises InvalidRequestError json_invalid for NaN, Infinity, names that stand twice, deep nesting, NUL and lone surrogates.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8"))
        # Only an escape can bring in NUL or half a surrogate pair.
        if b"\\u" in body and not _storable(value):
            raise ValueError("text that cannot be stored")
    except (ValueError, ArithmeticError, RecursionError) as error:
        raise InvalidRequestError("The body is not JSON that can be read and kept.", code="json_invalid") from error
    return value

"""What events look like: their JSON Schemas (draft 2020-12), one set for each published version (specification, task 9).

A version never changes once it is out: what a subscriber was promised stays true (docs/reference/events.md).
"""

import copy
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from cardwright.kernel.errors import FieldError, InvalidFieldsError, NotFoundError
from cardwright.outbox.rules import EVENT_TYPES
from cardwright.webhooks.rules.versions import CURRENT, SUPPORTED

_SHARED = "definitions.json"
_PLACE = "#/$defs/"
# A marker of ours: the type is promised, and nothing sends it yet.
_PLANNED = "x-planned"


@dataclass(frozen=True, slots=True)
class EventKind:
    """A type of event as its schema describes it. `planned`: it can be subscribed to, but nothing sends it yet."""

    type: str
    description: str
    planned: bool
    versions: tuple[str, ...]


@cache
def kinds() -> tuple[EventKind, ...]:
    """All types partners can subscribe to, by name."""
    found = []
    for event_type in sorted(EVENT_TYPES):
        document = _read(CURRENT, f"{event_type}.json")
        told = tuple(version for version in sorted(SUPPORTED) if event_type in _types(version))
        found.append(EventKind(event_type, document["description"], bool(document.get(_PLANNED)), told))
    return tuple(found)


def schema(event_type: str, version: str = CURRENT) -> dict[str, Any]:
    """The schema of the whole message of a type, with all it refers to in its own `$defs`.

    Raises NotFoundError event_type_not_found, InvalidFieldsError api_version_unknown.
    """
    if version not in SUPPORTED:
        raise InvalidFieldsError([FieldError("api_version", "api_version_unknown", "There is no such version.")])
    if event_type not in _types(version):
        raise NotFoundError("There is no such event type.", code="event_type_not_found")
    return copy.deepcopy(_whole(version, event_type))


@cache
def _types(version: str) -> frozenset[str]:
    folder = files("cardwright.outbox") / "schemas" / version
    return frozenset(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name != _SHARED)


@cache
def _whole(version: str, event_type: str) -> dict[str, Any]:
    shared = _read(version, _SHARED)["$defs"]
    document: dict[str, Any] = _local(_read(version, f"{event_type}.json"))
    document["$id"] = f"{version}/{event_type}.json"
    needed: dict[str, Any] = {}
    waiting = _names(document)
    while waiting:
        name = waiting.pop()
        needed[name] = shared[name]
        waiting |= _names(shared[name]) - needed.keys()
    document["$defs"] = dict(sorted(needed.items()))
    return document


def _local(value: Any) -> Any:
    """The same with references into the shared file turned into references to the document's own `$defs`."""
    if isinstance(value, list):
        return [_local(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {name: part.removeprefix(_SHARED) if name == "$ref" else _local(part) for name, part in value.items()}


def _names(value: Any) -> set[str]:
    """What a schema refers to."""
    if isinstance(value, list):
        return {name for part in value for name in _names(part)}
    if not isinstance(value, dict):
        return set()
    found = {name for part in value.values() for name in _names(part)}
    return found | {value["$ref"].removeprefix(_PLACE)} if "$ref" in value else found


@cache
def _read(version: str, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((files("cardwright.outbox") / "schemas" / version / name).read_text("utf-8"))
    return document

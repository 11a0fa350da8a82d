"""The events we send, as OpenAPI 3.1 tells them: a `webhooks` section (OpenAPI 3.1.0, section 4.8.1) and the schemas it names."""

import re
from typing import Any

from cardwright.webhooks.rules import schemas

_REF = "#/components/schemas/"
# A document of its own has these; inside another one they would say where its references begin.
_OWN = ("$schema", "$id", "$defs", "x-planned")
_HEADERS = {
    "webhook-id": "The event's id: take each once.",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970; refuse what is over five minutes off.",
    "webhook-signature": "`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64; several, with spaces between, "
    "while a secret is being rotated.",
}


def add_events(document: dict[str, Any]) -> None:
    """Write the events of the newest version into an OpenAPI 3.1 document."""
    document["webhooks"] = {kind.type: {"post": _operation(kind)} for kind in schemas.kinds()}
    components = document["components"]["schemas"]
    for kind in schemas.kinds():
        whole = schemas.schema(kind.type)
        for name, shared in whole["$defs"].items():
            components[_shared_name(name)] = _within(shared)
        components[_message_name(kind.type)] = _within({name: part for name, part in whole.items() if name not in _OWN})


def without_events(document: dict[str, Any]) -> dict[str, Any]:
    """The document as OpenAPI 3.0 can tell it, which has no word for webhooks."""
    events = {_message_name(kind.type) for kind in schemas.kinds()}
    events |= {_shared_name(name) for kind in schemas.kinds() for name in schemas.schema(kind.type)["$defs"]}
    kept = {name: part for name, part in document["components"]["schemas"].items() if name not in events}
    bare = {name: part for name, part in document.items() if name != "webhooks"}
    return {**bare, "components": {**document["components"], "schemas": kept}}


def _operation(kind: schemas.EventKind) -> dict[str, Any]:
    planned = " Not sent yet." if kind.planned else ""
    return {
        "operationId": f"event_{kind.type.replace('.', '_')}",
        "summary": kind.description + planned,
        "tags": ["events"],
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": _REF + _message_name(kind.type)}}},
        },
        "responses": {
            "2XX": {"description": "Taken. Anything else, and no answer within 15 s, is a failed attempt."},
            "410": {"description": "The receiver is gone for good: the subscription is disabled."},
        },
    }


def _message_name(event_type: str) -> str:
    return "".join(word.capitalize() for word in re.split(r"[._]", event_type)) + "Event"


def _shared_name(name: str) -> str:
    return "Event" + "".join(word.capitalize() for word in name.split("_"))


def _within(value: Any) -> Any:
    """The same with references to what the document keeps among its components."""
    if isinstance(value, list):
        return [_within(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _REF + _shared_name(part.rpartition("/")[2]) if name == "$ref" else _within(part) for name, part in value.items()
    }

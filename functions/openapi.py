"""The OpenAPI documents, made from the endpoints themselves: `python -m functions.openapi` writes, `--check` compares."""

import importlib
import json
import sys
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from cardwright.http.openapi import PROBLEM
from cardwright.kernel.rows import Http, Url
from cardwright.outbox.rules import API_VERSION
from functions.authorizations.shapes import AuthorizationIn
from functions.catalogue import CATALOGUE
from functions.openapi_events import add_events, without_events
from functions.openapi_files import OPENAPI_3_0, OPENAPI_3_1

FILES = {"3.1": OPENAPI_3_1, "3.0": OPENAPI_3_0}
_DESCRIPTION = (
    "Issue virtual payment cards, control them, read their transactions and subscribe to events. "
    "Errors are RFC 9457 problem documents with a stable `code`."
)


def document() -> dict[str, Any]:
    """OpenAPI 3.1 of every Http row, of the authorization Function URL, and of the events we send."""
    routes: list[APIRoute] = []
    for row in CATALOGUE:
        if isinstance(row, Http):
            endpoint = importlib.import_module(row.module).endpoint
            routes += [route for route in endpoint.app.routes if isinstance(route, APIRoute)]
    made = get_openapi(title="Cardwright", version=API_VERSION, openapi_version="3.1.0", description=_DESCRIPTION, routes=routes)
    schemas = made["components"]["schemas"]
    # FastAPI documents a 422 of its own; ours is the problem document.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for methods in made["paths"].values():
        for operation in methods.values():
            if "422" in operation["responses"]:
                described = operation["responses"]["422"].get("description", "")
                codes = described if described.startswith("Codes:") else "Codes: `invalid_fields`"
                operation["responses"]["422"] = {"description": codes, **_PROBLEM_CONTENT}
    schemas["Problem"] = PROBLEM
    made["components"]["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for row in CATALOGUE:
        if isinstance(row, Url):
            made["paths"][row.full_path] = {"post": _signed_operation(row, schemas)}
    add_events(made)
    made["paths"] = dict(sorted(made["paths"].items()))
    made["components"]["schemas"] = dict(sorted(schemas.items()))
    return made


def _signed_operation(row: Url, schemas: dict[str, Any]) -> dict[str, Any]:
    request = AuthorizationIn.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(request.pop("$defs", {}))
    schemas["AuthorizationRequest"] = request
    headers = [
        {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
    ]
    return {
        "operationId": row.name,
        "summary": row.summary,
        "tags": ["authorizations"],
        "security": [],
        "parameters": headers,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AuthorizationRequest"}}},
        },
        "responses": {
            "200": {"description": "The decision.", "content": {"application/json": {"schema": _DECISION}}},
            "400": {"description": "Codes: `json_invalid`, `request_malformed`", **_PROBLEM_CONTENT},
            "401": {
                "description": "Codes: `signature_missing`, `signature_invalid`, `timestamp_out_of_range`",
                **_PROBLEM_CONTENT,
            },
            "413": {"description": "Codes: `payload_too_large`", **_PROBLEM_CONTENT},
        },
    }


_PROBLEM_CONTENT = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_DECISION = {
    "type": "object",
    "required": [
        "decision", "final", "reason", "authorization_id", "transaction_id", "risk_score", "approved_amount", "decided_at"
    ],
    "properties": {
        "decision": {"type": "string", "enum": ["APPROVE", "DECLINE"]},
        "final": {"type": "boolean", "description": "False only for issuer_unavailable."},
        "reason": {"type": "string"},
        "authorization_id": {"type": "string"},
        "transaction_id": {"type": ["string", "null"], "format": "uuid"},
        "risk_score": {"type": ["integer", "null"], "minimum": 0, "maximum": 100},
        "approved_amount": {"type": "string"},
        "decided_at": {"type": "string", "format": "date-time"},
    },
}  # fmt: skip


def downgrade(value: Any) -> Any:
    """The same as OpenAPI 3.0.3: nullable types, enum for const, one example, booleans for exclusive bounds."""
    if isinstance(value, list):
        return [downgrade(item) for item in value]
    if not isinstance(value, dict):
        return value
    schema = {name: downgrade(item) for name, item in value.items()}
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        schema["type"] = kinds[0]
        schema["nullable"] = True
    options = schema.get("anyOf")
    if isinstance(options, list) and {"type": "null"} in options:
        kept = [option for option in options if option != {"type": "null"}]
        schema.pop("anyOf")
        schema.update({"allOf": kept} if len(kept) == 1 and "$ref" in kept[0] else kept[0] if len(kept) == 1 else {"anyOf": kept})
        schema["nullable"] = True
    if "const" in schema and not isinstance(schema["const"], dict):
        schema["enum"] = [schema.pop("const")]
    if isinstance(schema.get("examples"), list):
        schema["example"] = schema.pop("examples")[0]
    for bound in ("Minimum", "Maximum"):
        exclusive = schema.get(f"exclusive{bound}")
        if isinstance(exclusive, int | float) and not isinstance(exclusive, bool):
            schema[bound.lower()] = exclusive
            schema[f"exclusive{bound}"] = True
    schema.pop("contentMediaType", None)
    return schema


def older_dialect(newest: dict[str, Any]) -> dict[str, Any]:
    """The document as OpenAPI 3.0.3, without what that cannot tell."""
    older: dict[str, Any] = downgrade(without_events(newest))
    return {**older, "openapi": "3.0.3"}


def rendered() -> dict[str, str]:
    """Both documents as text by version."""
    newest = document()
    older = older_dialect(newest)
    return {version: json.dumps(made, indent=1, ensure_ascii=False) + "\n" for version, made in (("3.1", newest), ("3.0", older))}


def main() -> int:
    """Write the documents, or with --check report which are not up to date."""
    stale = [version for version, text in rendered().items() if not FILES[version].exists() or FILES[version].read_text() != text]
    if "--check" in sys.argv:
        for version in stale:
            print(f"{FILES[version].name} is not up to date: run `make openapi`")
        return 1 if stale else 0
    for version, text in rendered().items():
        FILES[version].write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())

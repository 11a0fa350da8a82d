"""GET /webhooks/event-types/{event_type}/schema"""

import json
from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from cardwright.webhooks.rules import schemas
from functions.door import ApiCall, door
from functions.webhooks import routes

endpoint = door(routes.GET_EVENT_SCHEMA)


@endpoint.operation(errors={404: ["event_type_not_found"], 422: ["api_version_unknown"]})
def get_event_schema(
    event_type: str,
    call: ApiCall,
    api_version: Annotated[
        str | None, Query(max_length=10, description="That of the subscription; the newest without it.", examples=["2026-11-21"])
    ] = None,
) -> Response:
    """The schema (draft 2020-12) of the whole message, complete in itself. A version never changes."""
    document = schemas.schema(event_type) if api_version is None else schemas.schema(event_type, api_version)
    return Response(json.dumps(document, ensure_ascii=False), media_type="application/json")


handler = endpoint.handler

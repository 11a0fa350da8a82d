"""GET /openapi-3.0.json"""

from starlette.responses import Response

from functions.door import ApiCall, door
from functions.openapi_files import OPENAPI_3_0
from functions.operations import routes

endpoint = door(routes.GET_OPENAPI_3_0)


@endpoint.operation()
def get_openapi_3_0(call: ApiCall) -> Response:
    """The committed document."""
    return Response(OPENAPI_3_0.read_bytes(), media_type="application/json")


handler = endpoint.handler

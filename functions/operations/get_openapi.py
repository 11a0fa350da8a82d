"""GET /openapi.json"""

from starlette.responses import Response

from functions.door import ApiCall, door
from functions.openapi_files import OPENAPI_3_1
from functions.operations import routes

endpoint = door(routes.GET_OPENAPI)


@endpoint.operation()
def get_openapi(call: ApiCall) -> Response:
    """The committed document."""
    return Response(OPENAPI_3_1.read_bytes(), media_type="application/json")


handler = endpoint.handler

"""POST /auth/logout"""

from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import signed_in

endpoint = door(routes.LOGOUT)


@endpoint.operation(status=204)
def logout(call: ApiCall) -> Reply:
    """End this session: its access and refresh tokens stop working."""
    call.api.identity.logout(signed_in(call), request_id=call.request_id)
    return Reply()


handler = endpoint.handler

"""GET /healthz"""

from typing import Literal

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.operations import routes

endpoint = door(routes.HEALTHZ)


class Health(StrictModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


@endpoint.operation(response=Health)
def healthz(call: ApiCall) -> Reply:
    """Answer without asking anybody."""
    return Reply(Health())


handler = endpoint.handler

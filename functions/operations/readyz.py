"""GET /readyz"""

from collections.abc import Callable
from typing import Literal

from cardwright.http.fields import StrictModel
from cardwright.kernel.errors import UnavailableError
from functions.door import ApiCall, Reply, door
from functions.operations import routes

endpoint = door(routes.READYZ)
State = Literal["ok", "unavailable"]


class Readiness(StrictModel):
    """Each dependency's state; the cache may be gone without stopping anything."""

    status: State
    database: State
    cache: State
    keys: State


@endpoint.operation(response=Readiness, errors={503: ["database_unavailable", "keys_unavailable"]})
def readyz(call: ApiCall) -> Reply:
    """Ask each dependency; 503 when one that we cannot do without is gone."""
    database, keys = _asked(call.api.database.ping), _asked(lambda: bool(call.api.signing.public_keys()))
    cache: State = "ok" if call.api.cache.ping() else "unavailable"
    ready = database == keys == "ok"
    answer = Readiness(status="ok" if ready else "unavailable", database=database, cache=cache, keys=keys)
    return Reply(answer, status=200 if ready else 503)


def _asked(question: Callable[[], bool]) -> State:
    try:
        return "ok" if question() else "unavailable"
    except UnavailableError:
        return "unavailable"


handler = endpoint.handler

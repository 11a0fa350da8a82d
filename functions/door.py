"""What every HTTP door is made of: the row hosted on the API's composition root."""

from functools import cache
from typing import Annotated

from fastapi import Depends

from cardwright.compose.api import Api
from cardwright.compose.restore import prepare
from cardwright.compose.workers import workers
from cardwright.http.call import Call, Reply
from cardwright.http.endpoint import Endpoint, current_call
from cardwright.kernel.rows import Capability, Http

__all__ = ["ApiCall", "Reply", "door", "workers"]

ApiCall = Annotated[Call[Api], Depends(current_call)]


@cache
def _root(needs: frozenset[Capability]) -> Api:
    return Api(needs)


def door(row: Http) -> Endpoint[Api]:
    """Host a row; its capabilities are all its composition root gives."""
    prepare(row.needs, _root.cache_clear)
    return Endpoint(row, _root)

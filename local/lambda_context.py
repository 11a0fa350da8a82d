"""The context object Lambda hands to a handler, for handlers hosted on a laptop."""

import time
from collections.abc import Callable
from typing import Final

from cardwright.kernel.rows import Row

ACCOUNT: Final = "123456789012"
REGION: Final = "us-east-1"


class LambdaContext:
    """What the handlers and Powertools read of the Lambda context; the time left follows the row's timeout."""

    function_version = "$LATEST"
    log_stream_name = "local"
    identity = None
    client_context = None

    def __init__(self, row: Row, request_id: str, *, stopping: Callable[[], bool] | None = None) -> None:
        """Start the invocation's time. When `stopping` says so no time is left, so that a polling handler ends soon."""
        self.function_name = f"cardwright-{row.name}"
        self.memory_limit_in_mb = str(row.memory_mb)
        self.aws_request_id = request_id
        self.invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{self.function_name}"
        self.log_group_name = f"/aws/lambda/{self.function_name}"
        self._deadline = time.monotonic() + row.timeout_s
        self._stopping = stopping

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until Lambda would end this invocation, never negative."""
        if self._stopping is not None and self._stopping():
            return 0
        return max(0, int((self._deadline - time.monotonic()) * 1000))

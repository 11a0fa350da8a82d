"""AWS's limits the gateway enforces, so that what fails in the cloud fails on the laptop; and the machine's own, raised."""

import resource
from typing import Final

# API Gateway quotas for REST APIs: payload, integration timeout, total of the request line and header values.
REST_BODY_BYTES: Final = 10 * 1024 * 1024
REST_TIMEOUT_S: Final = 29.0
REQUEST_HEADER_BYTES: Final = 10_240

# Lambda quota: payload of a synchronous invocation, each way; it binds Function URLs and whatever REST passes on.
INVOKE_PAYLOAD_BYTES: Final = 6 * 1024 * 1024

# A refused body is read to its end (up to this) so that the client, still sending, gets to see the answer.
DRAIN_BYTES: Final = 64 * 1024 * 1024

# Enough for the largest crowd one process is tried with; a limit without end is more than some systems take.
OPEN_FILES: Final = 32_768


def allow_open_files() -> None:
    """Raise this process's limit of open files: many systems begin with 1,024 and allow far more, a connection is one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))

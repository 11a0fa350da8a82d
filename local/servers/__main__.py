"""`python -m local.servers`: exit 1 with one line when this machine lacks a server the stack needs."""

import sys

from local.servers.binaries import require_servers
from local.servers.errors import ServerError

if __name__ == "__main__":
    try:
        require_servers()
    except ServerError as error:
        sys.exit(str(error))

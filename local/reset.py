"""`make reset`: stop the stack and delete its data, keys and passwords."""

import sys

from local.down import stop_stack
from local.home import Home, StackError
from local.servers.errors import ServerError
from local.servers.postgres import PostgresServer
from local.servers.valkey import ValkeyServer


def reset(home: Home) -> bool:
    """Delete the folder's stack; True when there was one. Raises StackError when the folder is not one of ours."""
    if not home.root.exists():
        return False
    if not home.is_ours():
        raise StackError(f"{home.root} was not made by this program: delete it yourself if you mean to")
    stop_stack(home)
    # The database's files may lie elsewhere, where its own user can reach them: the server knows.
    PostgresServer(home.data("postgres")).erase()
    ValkeyServer(home.data("valkey")).erase()
    home.erase()
    return True


def main() -> int:
    """Reset and say so; returns the exit status."""
    home = Home.locate()
    try:
        there_was = reset(home)
    except (StackError, ServerError, OSError) as error:
        print(f"make reset: {error}", file=sys.stderr)
        return 1
    print(f"deleted {home.root}" if there_was else "nothing to delete")
    return 0


if __name__ == "__main__":
    sys.exit(main())

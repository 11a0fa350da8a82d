"""Log one of the stack's users in, second factor included: `python -m local.login cardholder` prints an access token."""

import argparse
import json
import sys

from local.demo.client import Client, Network, StoryError
from local.home import Home


def main() -> int:
    """Print the token; it is good for a few minutes and for what needs a second factor."""
    parser = argparse.ArgumentParser(prog="python -m local.login", description=__doc__)
    parser.add_argument("user", choices=["admin", "compliance", "support", "cardholder", "cardholder2"])
    wanted: str = parser.parse_args().user
    home = Home.locate()
    if not home.stack_file.exists():
        print("no stack is running: start one with `make up`", file=sys.stderr)
        return 1
    stack = json.loads(home.stack_file.read_text())
    network = Network(stack["simulator_url"])
    client = Client(stack["base_url"], stack["users"][wanted], network)
    try:
        client.log_in()
        print(client.access_token)
    except StoryError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        client.close()
        network.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

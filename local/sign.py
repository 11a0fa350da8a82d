"""Sign a request body as the issuer processor does: `echo "$BODY" | python -m local.sign` prints the three headers.

The body is read from standard input, one line end at its end left out, as `curl -d` sends it.
"""

import argparse
import json
import secrets
import sys

from standardwebhooks import Webhook

from local.clock import ClockFile
from local.home import Home


def headers(secret: str, body: str, clock: ClockFile) -> dict[str, str]:
    """Standard Webhooks headers over a body, stamped by the stack's clock. `secret` is `whsec_` and base64."""
    message_id, now = f"msg_{secrets.token_hex(12)}", clock.now()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, now, body),
    }


def main() -> int:
    """Print the headers, a line each, for `curl -H @-`."""
    argparse.ArgumentParser(prog="python -m local.sign", description=__doc__).parse_args()
    home = Home.locate()
    if not home.stack_file.exists():
        print("no stack is running: start one with `make up`", file=sys.stderr)
        return 1
    stack = json.loads(home.stack_file.read_text())
    body = sys.stdin.read().removesuffix("\n")
    with ClockFile(home.clock_file) as clock:
        for name, value in headers(stack["processor_secret"], body, clock).items():
            print(f"{name}: {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`make redrive QUEUE=events`: give the dead letters of the running stack's queue back to it, once their cause is mended."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from cardwright.kernel.errors import CardwrightError
from functions.operations.routes import REDRIVE_DEAD_LETTERS
from local import environment
from local.home import Home
from local.lambda_context import LambdaContext

if TYPE_CHECKING:
    from cardwright.platform.dead_letters import Redriven

QUEUES = ("events", "notifications")


def redrive(endpoint: str, queue: str, per_second: int | None = None) -> "Redriven":
    """Give the dead letters of a queue back, on the stack whose AWS endpoint this is. Raises CardwrightError, ClientError."""
    # The SDK's clients read these when they are made.
    os.environ.update(environment.aws_environment(urlsplit(endpoint).port or 0))
    from cardwright.platform.aws import client
    from cardwright.platform.dead_letters import DeadLetters

    url = client("sqs").get_queue_url(QueueName=f"cardwright-{queue}")["QueueUrl"]
    context = LambdaContext(REDRIVE_DEAD_LETTERS, "redrive")
    return DeadLetters(url).redrive(lambda: context.get_remaining_time_in_millis() / 1000, per_second)


def main() -> int:
    """Redrive and tell; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m local.redrive", description=__doc__)
    parser.add_argument("queue", choices=QUEUES)
    parser.add_argument("--per-second", type=int, help="most messages a second; as fast as it goes without")
    wanted = parser.parse_args()
    home = Home.locate()
    if not home.stack_file.exists():
        print("no stack is running: start one with `make up`", file=sys.stderr)
        return 1
    try:
        told = redrive(json.loads(home.stack_file.read_text())["aws_endpoint_url"], wanted.queue, wanted.per_second)
    except (CardwrightError, ClientError) as error:
        print(f"redrive: {error}", file=sys.stderr)
        return 1
    ending = "" if told.done else f"; {told.waiting} wait still and go on by themselves"
    print(f"{told.moved} dead letters given back to {wanted.queue}{ending}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

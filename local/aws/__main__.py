"""Start the AWS emulator: `python -m local.aws --port N --data DIR`."""

import argparse
from pathlib import Path

from local.aws.application import Emulator
from local.serving import serve


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.aws", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder for queues, keys, secrets and objects")
    parser.add_argument("--region", default="us-east-1", help="region of requests that are not signed for one")
    parser.add_argument("--sqs", choices=("twin", "moto"), default="twin")
    options = parser.parse_args()
    emulator = Emulator(options.data, options.port, region=options.region, twin=options.sqs == "twin")
    serve(emulator, options.port)


if __name__ == "__main__":
    main()

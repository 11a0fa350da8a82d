"""Metrics as one JSON line each in CloudWatch's embedded metric format; standard library only, for the authorization path."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime

from cardwright.platform.redaction import redact

NAMESPACE = "Cardwright"
_JSON = json.JSONEncoder(default=str, separators=(",", ":"))


def emit(metrics: Mapping[str, tuple[float, str]], dimensions: Mapping[str, str], at: datetime, **properties: object) -> None:
    """Write one line. `metrics` maps name to (value, CloudWatch unit); properties are searchable and no dimension."""
    line = {
        "_aws": {
            "Timestamp": int(at.timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [list(dimensions)],
                    "Metrics": [{"Name": name, "Unit": unit} for name, (_, unit) in metrics.items()],
                }
            ],
        },
        **dimensions,
        **{name: value for name, (value, _) in metrics.items()},
        **properties,
    }
    sys.stdout.write(_JSON.encode(line) + "\n")


def error_line(message: str, error: BaseException, **properties: object) -> None:
    """Write one redacted log line about an error: its type and text, no locals."""
    line = {"level": "ERROR", "message": message, "error": type(error).__name__, "detail": str(error), **properties}
    sys.stdout.write(redact(_JSON.encode(line)) + "\n")

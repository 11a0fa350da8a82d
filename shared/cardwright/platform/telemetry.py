"""JSON log lines through Powertools; the finished line is redacted, so tracebacks and extras pass through it too."""

import json
from typing import Any

from aws_lambda_powertools import Logger

from cardwright.platform.redaction import redact

__all__ = ["logger"]


def _serialize(record: dict[str, Any]) -> str:
    return redact(json.dumps(record, default=str, separators=(",", ":")))


logger = Logger(service="cardwright", json_serializer=_serialize)

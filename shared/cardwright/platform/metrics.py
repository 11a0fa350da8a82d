"""Metrics as one JSON line each in CloudWatch's embedded metric format; standard library only, for the authorization path."""

import json
import sys
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from cardwright.kernel.jsontext import quote
from cardwright.platform.redaction import redact

NAMESPACE = "Cardwright"
_JSON = json.JSONEncoder(default=str, separators=(",", ":"))


def emit(metrics: Mapping[str, tuple[float, str]], dimensions: Mapping[str, str], at: datetime, **properties: object) -> None:
    """Write one line. `metrics` maps name to (value, CloudWatch unit); properties are searchable and no dimension."""
    described = _described(tuple(dimensions), tuple([(name, unit) for name, (_, unit) in metrics.items()]))
    told = {**dimensions, **{name: value for name, (value, _) in metrics.items()}, **properties}
    values = "".join([f",{quote(name)}:{_text(value)}" for name, value in told.items()])
    sys.stdout.write(f'{{"_aws":{{"Timestamp":{int(at.timestamp() * 1000)},{described}}}{values}}}\n')


@lru_cache(maxsize=64)
def _described(dimensions: tuple[str, ...], units: tuple[tuple[str, str], ...]) -> str:
    """The part of a line that is the same for every value."""
    metrics = [{"Name": name, "Unit": unit} for name, unit in units]
    directive = {"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics}
    return f'"CloudWatchMetrics":{_JSON.encode([directive])}'


def _text(value: object) -> str:
    """A value as JSON, without an encoder for what is plain."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, UUID):
        return f'"{value}"'
    return repr(value) if type(value) in (int, float) else _JSON.encode(value)


def error_line(message: str, error: BaseException, **properties: object) -> None:
    """Write one redacted log line about an error: its type and text, no locals."""
    line = {"level": "ERROR", "message": message, "error": type(error).__name__, "detail": str(error), **properties}
    sys.stdout.write(redact(_JSON.encode(line)) + "\n")

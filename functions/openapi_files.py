"""Where the committed OpenAPI documents lie; they ship with the functions."""

from pathlib import Path

_FOLDER = Path(__file__).parent / "operations"
OPENAPI_3_1 = _FOLDER / "openapi.json"
OPENAPI_3_0 = _FOLDER / "openapi-3.0.json"

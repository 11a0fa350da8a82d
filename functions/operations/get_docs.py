"""GET /docs: the reference as one page, made from the OpenAPI document, without scripts or foreign hosts."""

import json
from functools import cache
from html import escape
from typing import Any

from starlette.responses import Response

from functions.door import ApiCall, door
from functions.openapi_files import OPENAPI_3_1
from functions.operations import routes

endpoint = door(routes.GET_DOCS)

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a2e}"
    "h2{margin-top:2.5rem}code,pre{font-family:ui-monospace,monospace;font-size:.9em}"
    "pre{background:#f4f4f8;padding:1rem;overflow:auto}summary{cursor:pointer}table{border-collapse:collapse}"
    "td,th{border:1px solid #ddd;padding:.3rem .6rem;text-align:left;vertical-align:top}"
)


@endpoint.operation(media_type="text/html")
def get_docs(call: ApiCall) -> Response:
    """The page; its policy allows its own style and nothing else."""
    headers = {
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
    }
    return Response(_page(), media_type="text/html; charset=utf-8", headers=headers)


@cache
def _page() -> str:
    document = json.loads(OPENAPI_3_1.read_text())
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    schemas = "".join(
        f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary>"
        f"<pre>{escape(json.dumps(schema, indent=2, ensure_ascii=False))}</pre></details>"
        for name, schema in document["components"]["schemas"].items()
    )
    info = document["info"]
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{escape(info['title'])} API</title><style>{_STYLE}</style>"
        f"<h1>{escape(info['title'])} API</h1><p>{escape(info['description'])}</p>"
        f"<p>Version {escape(info['version'])}. As data: <a href='/api/v1/openapi.json'>OpenAPI 3.1</a>, "
        f"<a href='/api/v1/openapi-3.0.json'>3.0</a>.</p>{operations}<h2>Shapes</h2>{schemas}</html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<h2 id='{escape(operation['operationId'])}'><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('summary', ''))}</p><table><tr><th>Status</th><th>Answer</th></tr>{answers}</table>"
    )


handler = endpoint.handler

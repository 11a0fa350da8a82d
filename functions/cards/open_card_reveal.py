"""GET /reveals/{reveal_token}"""

from starlette.responses import Response

from cardwright.kernel.secret import Secret
from functions.cards import routes
from functions.door import ApiCall, door

endpoint = door(routes.OPEN_CARD_REVEAL)

_NOBODY = "'none'"


@endpoint.operation(
    status=303,
    errors={410: ["reveal_gone"], 502: ["processor_refused", "reveal_unsupported"], 503: ["processor_unavailable"]},
)
def open_card_reveal(reveal_token: str, call: ApiCall) -> Response:
    """Lead to the processor's view, once. Nothing of the card is in this answer.

    After a 502 or 503 the URL is as good as before.
    """
    origins = sorted(call.api.settings.cors_origins)
    url = call.api.cards.open_reveal(Secret(reveal_token), call.request_id, origins)
    headers = {
        "Location": url,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": f"default-src 'none'; frame-ancestors {' '.join(origins) or _NOBODY}",
    }
    return Response(status_code=303, headers=headers)


handler = endpoint.handler

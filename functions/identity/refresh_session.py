"""POST /auth/refresh"""

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import Token, TokensResponse

endpoint = door(routes.REFRESH_SESSION)


class RefreshRequest(StrictModel):
    """The refresh token of the last answer."""

    refresh_token: Token


@endpoint.operation(response=TokensResponse, errors={401: ["refresh_token_invalid", "refresh_token_reused"]})
def refresh_session(body: RefreshRequest, call: ApiCall) -> Reply:
    """Exchange a refresh token; each works once, a second use ends the session."""
    tokens = call.api.identity.refresh(body.refresh_token, request_id=call.request_id)
    return Reply(TokensResponse.granted(tokens))


handler = endpoint.handler

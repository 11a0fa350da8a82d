"""POST /auth/mfa/verify"""

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import Code, Token, TokensResponse

endpoint = door(routes.VERIFY_MFA)


class VerifyMfaRequest(StrictModel):
    """What the login answered, and a code."""

    mfa_token: Token
    code: Code


@endpoint.operation(response=TokensResponse, errors={401: ["mfa_token_invalid", "mfa_code_invalid", "mfa_code_used"]})
def verify_mfa(body: VerifyMfaRequest, call: ApiCall) -> Reply:
    """Finish a login; five tries and five minutes a token, and each code is taken once."""
    tokens = call.api.identity.verify_mfa(body.mfa_token, body.code, address=call.address, request_id=call.request_id)
    return Reply(TokensResponse.granted(tokens))


handler = endpoint.handler

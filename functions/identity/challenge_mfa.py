"""POST /auth/mfa/challenge"""

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import AccessTokenResponse, Code, signed_in

endpoint = door(routes.CHALLENGE_MFA)


class ChallengeRequest(StrictModel):
    """A code of the second factor."""

    code: Code


@endpoint.operation(
    response=AccessTokenResponse,
    errors={401: ["mfa_code_invalid", "mfa_code_used"], 403: ["mfa_enrolment_required", "account_locked"]},
)
def challenge_mfa(body: ChallengeRequest, call: ApiCall) -> Reply:
    """Step up: the token that comes back opens what needs a fresh second factor, for five minutes."""
    access = call.api.identity.challenge(signed_in(call), body.code, request_id=call.request_id)
    return Reply(AccessTokenResponse.of(access))


handler = endpoint.handler

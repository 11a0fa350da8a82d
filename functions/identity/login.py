"""POST /auth/login"""

from typing import Literal

from pydantic import RootModel

from cardwright.http.fields import StrictModel
from cardwright.identity.service import SecondFactorOwed
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import Email, Password, TokensResponse

endpoint = door(routes.LOGIN)


class LoginRequest(StrictModel):
    """Address and password."""

    email: Email
    password: Password


class MfaRequiredResponse(StrictModel):
    """The password was right; POST /auth/mfa/verify finishes the login."""

    mfa_required: Literal[True] = True
    mfa_token: str


class LoginResponse(RootModel[TokensResponse | MfaRequiredResponse]):
    """Tokens, or what is still owed."""


@endpoint.operation(response=LoginResponse, errors={401: ["invalid_credentials"], 403: ["email_not_verified"]})
def login(body: LoginRequest, call: ApiCall) -> Reply:
    """Log in. Ten failures lock an account for 30 minutes; a locked account answers like a wrong password."""
    outcome = call.api.identity.login(body.email, body.password, address=call.address, request_id=call.request_id)
    if isinstance(outcome, SecondFactorOwed):
        return Reply(MfaRequiredResponse(mfa_token=outcome.mfa_token.reveal()))
    return Reply(TokensResponse.granted(outcome))


handler = endpoint.handler

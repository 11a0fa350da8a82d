"""POST /auth/mfa/totp/confirm"""

from pydantic import Field

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import AccessTokenResponse, Code, signed_in

endpoint = door(routes.CONFIRM_TOTP)


class ConfirmTotpRequest(StrictModel):
    """A code of the new authenticator."""

    code: Code


class ConfirmTotpResponse(AccessTokenResponse):
    """Recovery codes, and a token that has stepped up with the confirming code."""

    recovery_codes: list[str] = Field(description="Shown once; each works once in the place of a code.")


@endpoint.operation(
    response=ConfirmTotpResponse,
    errors={401: ["mfa_code_invalid"], 403: ["account_locked"], 409: ["totp_already_enrolled", "totp_not_started"]},
)
def confirm_totp(body: ConfirmTotpRequest, call: ApiCall) -> Reply:
    """Confirm the authenticator; from now on logins need it."""
    codes, access = call.api.identity.confirm_totp(signed_in(call), body.code, request_id=call.request_id)
    return Reply(
        ConfirmTotpResponse(
            access_token=access.token.reveal(),
            expires_in=access.expires_in,
            recovery_codes=[code.reveal() for code in codes],
        )
    )


handler = endpoint.handler

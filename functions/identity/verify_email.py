"""POST /auth/verify-email"""

from typing import Literal

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import Email, EmailCode

endpoint = door(routes.VERIFY_EMAIL)


class VerifyEmailRequest(StrictModel):
    """The address and the code that was mailed to it."""

    email: Email
    code: EmailCode


class VerifyEmailResponse(StrictModel):
    """The address is confirmed."""

    email_verified: Literal[True] = True


@endpoint.operation(response=VerifyEmailResponse, errors={422: ["email_code_invalid"]})
def verify_email(body: VerifyEmailRequest, call: ApiCall) -> Reply:
    """Confirm an address; five tries a code."""
    call.api.identity.verify_email(email=body.email, code=body.code, address=call.address, request_id=call.request_id)
    return Reply(VerifyEmailResponse())


handler = endpoint.handler

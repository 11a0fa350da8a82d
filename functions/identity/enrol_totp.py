"""POST /auth/mfa/totp"""

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import signed_in

endpoint = door(routes.ENROL_TOTP)


class EnrolmentResponse(StrictModel):
    """What an authenticator needs, shown once."""

    secret: str
    otpauth_url: str


@endpoint.operation(response=EnrolmentResponse, errors={409: ["totp_already_enrolled"]})
def enrol_totp(call: ApiCall) -> Reply:
    """Make a secret; it counts once a code of it was confirmed."""
    enrolment = call.api.identity.enrol_totp(signed_in(call), request_id=call.request_id)
    return Reply(EnrolmentResponse(secret=enrolment.secret.reveal(), otpauth_url=enrolment.otpauth_url.reveal()))


handler = endpoint.handler

"""POST /auth/register"""

from typing import Literal

from pydantic import Field

from cardwright.http.fields import StrictModel
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import Email, Password

endpoint = door(routes.REGISTER_USER)


class RegisterRequest(StrictModel):
    """Who wants an account."""

    email: Email
    password: Password
    first_name: str = Field(min_length=1, max_length=100, examples=["Ada"])
    last_name: str = Field(min_length=1, max_length=100, examples=["Lovelace"])


class RegisterResponse(StrictModel):
    """The same for a new address and a known one."""

    status: Literal["VERIFICATION_SENT"]


@endpoint.operation(response=RegisterResponse, status=202)
def register_user(body: RegisterRequest, call: ApiCall) -> Reply:
    """Register; look into the mailbox for what comes next."""
    call.api.identity.register(
        email=body.email,
        password=body.password,
        first_name=body.first_name,
        last_name=body.last_name,
        address=call.address,
        request_id=call.request_id,
    )
    return Reply(RegisterResponse(status="VERIFICATION_SENT"))


handler = endpoint.handler

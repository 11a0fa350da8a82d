"""GET /users/me"""

from cardwright.kyc.rules import KycStatus
from functions.door import ApiCall, Reply, door
from functions.identity import routes
from functions.identity.shapes import UserResponse, signed_in

endpoint = door(routes.GET_PROFILE)


class ProfileResponse(UserResponse):
    """The caller's own account and how far the identity check is."""

    kyc_status: KycStatus


@endpoint.operation(response=ProfileResponse)
def get_profile(call: ApiCall) -> Reply:
    """The caller's own profile."""
    profile = call.api.identity.profile(signed_in(call), request_id=call.request_id)
    status = call.api.kyc.status(call.actor).status
    shown = UserResponse.of(profile)
    return Reply(ProfileResponse(**shown.model_dump(), kyc_status=status), etag=profile.version)


handler = endpoint.handler

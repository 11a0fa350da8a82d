"""GET /kyc/status"""

from functions.door import ApiCall, Reply, door
from functions.kyc import routes
from functions.kyc.shapes import KycResponse

endpoint = door(routes.GET_KYC_STATUS)


@endpoint.operation(response=KycResponse)
def get_kyc_status(call: ApiCall) -> Reply:
    """The caller's KYC status."""
    return Reply(KycResponse.of(call.api.kyc.status(call.actor)))


handler = endpoint.handler

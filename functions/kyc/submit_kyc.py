"""POST /kyc/submissions"""

from datetime import date
from typing import Annotated

from pydantic import Field, SecretStr

from cardwright.http.fields import StrictModel
from cardwright.kernel.secret import Secret
from cardwright.kyc.rules import Details
from functions.door import ApiCall, Reply, door
from functions.kyc import routes
from functions.kyc.shapes import KycResponse

endpoint = door(routes.SUBMIT_KYC)

Name = Annotated[SecretStr, Field(min_length=1, max_length=100)]


class DocumentRequest(StrictModel):
    """An identity document."""

    type: str = Field(min_length=2, max_length=40, examples=["passport"])
    number: SecretStr = Field(min_length=1, max_length=64)


class SubmissionRequest(StrictModel):
    """What the provider checks; it is handed on and not kept."""

    first_name: Name
    last_name: Name
    date_of_birth: date = Field(repr=False)
    country: str = Field(pattern=r"^[A-Z]{2}$", examples=["FR"], description="ISO 3166-1 alpha-2")
    document: DocumentRequest


@endpoint.operation(
    response=KycResponse,
    status=202,
    errors={409: ["kyc_pending", "kyc_already_verified", "kyc_in_review"], 502: ["kyc_refused"], 503: ["kyc_unavailable"]},
)
def submit_kyc(body: SubmissionRequest, call: ApiCall) -> Reply:
    """Submit; the status tells the outcome when the provider has decided."""
    details = Details(
        first_name=Secret(body.first_name.get_secret_value()),
        last_name=Secret(body.last_name.get_secret_value()),
        date_of_birth=Secret(body.date_of_birth),
        country=body.country,
        document_type=body.document.type,
        document_number=Secret(body.document.number.get_secret_value()),
    )
    return Reply(KycResponse.of(call.api.kyc.submit(call.actor, details, call.operation_id)))


handler = endpoint.handler

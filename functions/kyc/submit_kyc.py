"""POST /kyc/submissions"""

from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field

from cardwright.http.fields import SecretText, StrictModel
from cardwright.kernel.secret import Secret
from cardwright.kyc.rules import Details
from functions.door import ApiCall, Reply, door
from functions.kyc import routes
from functions.kyc.shapes import KycResponse

endpoint = door(routes.SUBMIT_KYC)

Name = Annotated[Secret[str], SecretText(min_length=1, max_length=100)]


def _text_only(value: object) -> object:
    # Pydantic would read a number as seconds since 1970.
    if not isinstance(value, str):
        raise ValueError("a date is written YYYY-MM-DD")
    return value


class DocumentRequest(StrictModel):
    """An identity document."""

    type: str = Field(min_length=2, max_length=40, examples=["passport"])
    number: Annotated[Secret[str], SecretText(min_length=1, max_length=64)]


class SubmissionRequest(StrictModel):
    """What the provider checks; it is handed on and not kept."""

    first_name: Name
    last_name: Name
    date_of_birth: Annotated[date, BeforeValidator(_text_only)] = Field(repr=False)
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
        first_name=body.first_name,
        last_name=body.last_name,
        date_of_birth=Secret(body.date_of_birth),
        country=body.country,
        document_type=body.document.type,
        document_number=body.document.number,
    )
    return Reply(KycResponse.of(call.api.kyc.submit(call.actor, details, call.operation_id)))


handler = endpoint.handler

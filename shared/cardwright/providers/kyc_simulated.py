"""The simulated KYC provider: a client for its HTTP interface, and a reader of its events."""

from collections.abc import Callable

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardwright.kernel import jsontext
from cardwright.kernel.errors import InvalidRequestError, ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.kyc.rules import Details, KycStatus, Outcome, read_reference
from cardwright.providers.answers import may_pass

_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_STATUSES = {"approved": KycStatus.VERIFIED, "declined": KycStatus.REJECTED, "review": KycStatus.NEEDS_REVIEW}
_COMPLETED = "verification.completed"


class SimulatedKyc:
    """Submits over HTTP. `api_key` is asked at each call, so that it may rotate."""

    def __init__(self, url: str, api_key: Callable[[], Secret[str]], *, transport: httpx.BaseTransport | None = None) -> None:
        self._api_key = api_key
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False, transport=transport)

    def submit(self, reference: str, details: Details, callback_url: str) -> str:
        """Create a verification; return its id. Raises UnavailableError kyc_unavailable, ProviderRefusedError kyc_refused."""
        body = {
            "reference": reference,
            "first_name": details.first_name.reveal(),
            "last_name": details.last_name.reveal(),
            "date_of_birth": details.date_of_birth.reveal().isoformat(),
            "country": details.country,
            "document": {"type": details.document_type, "number": details.document_number.reveal()},
            "callback_url": callback_url,
        }
        try:
            answer = self._http.post(
                "/v1/verifications", json=body, headers={"Authorization": f"Bearer {self._api_key().reveal()}"}
            )
        except httpx.HTTPError:
            # The cause holds the request and with it personal data: it is left out.
            raise _unavailable() from None
        if may_pass(answer.status_code):
            raise _unavailable()
        if not answer.is_success:
            raise ProviderRefusedError("The KYC provider refused the submission.", code="kyc_refused")
        try:
            return _Accepted.model_validate_json(answer.content).id
        except ValidationError:
            raise _unavailable() from None


class _Accepted(BaseModel):
    id: str = Field(min_length=1, max_length=200)


class _Notice(BaseModel):
    model_config = ConfigDict(extra="ignore")

    event_id: str = Field(min_length=1, max_length=200)
    type: str
    reference: str = ""
    status: str = ""


def read_event(body: bytes) -> Outcome | None:
    """Translate one event; unknown fields are ignored, and so are other types, statuses and references than ours.

    Raises InvalidRequestError json_invalid / event_invalid.
    """
    try:
        notice = _Notice.model_validate(jsontext.parse(body))
    except ValidationError:
        raise InvalidRequestError("The event has not the fields it must have.", code="event_invalid") from None
    named = read_reference(notice.reference)
    if notice.type != _COMPLETED or named is None or notice.status not in _STATUSES:
        return None
    return Outcome(notice.event_id, *named, _STATUSES[notice.status])


def _unavailable() -> UnavailableError:
    return UnavailableError("The KYC provider does not answer.", code="kyc_unavailable")

"""Push messages through Firebase Cloud Messaging, HTTP v1."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import httpx
from google.auth.exceptions import GoogleAuthError, TransportError
from google.auth.transport import Request, Response
from google.oauth2.service_account import Credentials
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.providers.answers import may_pass
from cardwright.providers.sending import Settings, dead_address, fault, read_settings, refused, unavailable

# Where its own variables say debug, the library writes whole requests, tokens with them.
logging.getLogger("google").setLevel(logging.WARNING)

_URL = "https://fcm.googleapis.com"
_SCOPES = ("https://www.googleapis.com/auth/firebase.messaging",)
_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_TOKEN_FIELD = "message.token"  # noqa: S105 - the name of a field
_UNAUTHENTICATED = 401
# After the token endpoint has failed one thread, the others do not wait for it one behind the other.
_TOKEN_REST_S = 5.0
# The certificate or key for Apple's or a browser's service is wrong: FCM takes us for whom we are.
_THIRD_PARTY = "THIRD_PARTY_AUTH_ERROR"


class _Account(BaseModel):
    """A Google service account's key file, as Google makes it out; what is not read here is passed on."""

    model_config = ConfigDict(extra="allow")

    project_id: str = Field(pattern=r"^[a-z0-9-]{4,64}$")
    private_key_id: str = Field(min_length=1)
    private_key: str = Field(min_length=1, repr=False)
    client_email: str = Field(min_length=3, repr=False)
    token_uri: str = Field(pattern=r"^https://")


class _Violation(BaseModel):
    field: str = ""


class _Detail(BaseModel):
    error_code: str = Field(default="", alias="errorCode")
    violations: list[_Violation] = Field(default_factory=list, alias="fieldViolations")


class _Error(BaseModel):
    message: str = Field(default="", repr=False)
    details: list[_Detail] = Field(default_factory=list)


class _Refusal(BaseModel):
    error: _Error = Field(default_factory=_Error)


class _Sent(BaseModel):
    name: str = Field(min_length=1, max_length=500)


class _TokenAnswer(Response):
    """An answer of Google's token endpoint, as the library reads it."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self._answer.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers, whose names have no case."""
        return self._answer.headers

    @property
    def data(self) -> bytes:
        """The body."""
        return self._answer.content


class _TokenWire(Request):
    """Carries the library's requests for tokens over our own client."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: int | None = None,
        **kwargs: Any,
    ) -> Response:
        """Send one request. Raises TransportError, also for what may pass: tries again are made by our own schedule."""
        try:
            answer = self._http.request(method, url, content=body, headers=headers)
        except httpx.HTTPError:
            raise TransportError("no answer") from None  # type: ignore[no-untyped-call]  # no types
        if may_pass(answer.status_code) and answer.status_code != _UNAUTHENTICATED:
            raise TransportError("no token now")  # type: ignore[no-untyped-call]  # no types
        return _TokenAnswer(answer)


class FcmPush:
    """Sends to registration tokens of apps. Settings: the service account's key file, whose project is the app's.

    FCM knows no idempotency: a message whose answer was lost is sent again. Our message id goes along as the tag under which a
    device shows it, so that a repeat takes the place of the first.
    """

    name = "fcm"

    def __init__(
        self,
        settings: Settings,
        *,
        url: str = _URL,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._no_token_until: float | None = None
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False, transport=transport)
        self._lock = threading.Lock()
        self._held: tuple[str, Credentials] | None = None

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Send a push; return FCM's name of it.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused, DeadAddressError address_dead.
        """
        account = read_settings(self._settings, _Account)
        body = {"message": _message(to, message, message_id)}
        headers = {"Authorization": f"Bearer {self._token(account).reveal()}"}
        try:
            answer = self._http.post(f"/v1/projects/{account.project_id}/messages:send", json=body, headers=headers)
        except httpx.HTTPError:
            # The cause holds the request, and that both tokens.
            raise unavailable() from None
        if not answer.is_success:
            failure = _fault(answer)
            if answer.status_code == _UNAUTHENTICATED and isinstance(failure, UnavailableError):
                self._forget()
            raise failure
        try:
            return _Sent.model_validate_json(answer.content).name
        except ValidationError:
            # It was taken, or there were no 2xx; to send it again for want of its name would show it twice.
            return None

    def _token(self, account: _Account) -> Secret[str]:
        """An access token, held until shortly before it ends (an hour) and asked for by one thread at a time.

        Raises UnavailableError, for some seconds after a failure without asking.
        """
        with self._lock:
            if self._held is None or self._held[0] != account.private_key_id:
                self._held = (account.private_key_id, _credentials(account))
                self._no_token_until = None
            credentials = self._held[1]
            if not credentials.valid:
                if self._no_token_until is not None and self._monotonic() < self._no_token_until:
                    raise unavailable()
                try:
                    credentials.refresh(_TokenWire(self._http))  # type: ignore[no-untyped-call]  # the library has no types here
                except (GoogleAuthError, AttributeError, TypeError, ValueError):
                    # Also when Google refuses the key, which is mended on our side and passes, and when its answer cannot be
                    # read, which the library does not look after. The cause quotes the answer.
                    self._no_token_until = self._monotonic() + _TOKEN_REST_S
                    raise unavailable() from None
            return Secret(str(credentials.token))

    def _forget(self) -> None:
        with self._lock:
            self._held = None


def _credentials(account: _Account) -> Credentials:
    try:
        made: Credentials = Credentials.from_service_account_info(account.model_dump(), scopes=_SCOPES)  # type: ignore[no-untyped-call]  # no types
    except (GoogleAuthError, TypeError, ValueError):
        raise BrokenInvariantError("a message provider's settings have not the shape they must have") from None
    return made


def _message(to: Secret[str], message: Rendered, message_id: UUID) -> dict[str, Any]:
    tag = str(message_id)
    return {
        "token": to.reveal(),
        "notification": {"title": message.subject or "", "body": message.body},
        "data": dict(message.data),
        "android": {"priority": "HIGH", "notification": {"tag": tag}},
        "apns": {"headers": {"apns-collapse-id": tag}},
        "webpush": {"notification": {"tag": tag}},
    }


def _fault(answer: httpx.Response) -> CardwrightError:
    """What FCM's error means. A 404 alone kills no token: a project that is not there answers so for all of them."""
    try:
        told = _Refusal.model_validate_json(answer.content).error
    except ValidationError:
        return fault(answer.status_code)
    codes = {detail.error_code for detail in told.details}
    if "UNREGISTERED" in codes:
        return dead_address()
    if _THIRD_PARTY in codes or "SENDER_ID_MISMATCH" in codes:
        return refused()
    if answer.status_code == 400:
        fields = {violation.field for detail in told.details for violation in detail.violations}
        # FCM says it in either way, by the field or by words.
        named = "INVALID_ARGUMENT" in codes and "registration token" in told.message.lower()
        return dead_address() if _TOKEN_FIELD in fields or named else refused()
    return unavailable() if answer.status_code == 404 else fault(answer.status_code)

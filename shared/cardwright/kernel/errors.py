"""The one error hierarchy; `cardwright.http.problems` alone maps it to HTTP. A decline is a value, never one of these."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldError:
    """One rejected field: dotted path, stable code, human sentence without the rejected value."""

    field: str
    code: str
    detail: str


class FieldValueError(ValueError):
    """A value breaks a rule of its field, whichever field that is. `code` is stable and public, `detail` is safe to show."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class CardwrightError(Exception):
    """Base of everything the domain raises on purpose. `code` is stable and public, `detail` is safe to show."""

    code = "internal_error"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if code is not None:
            self.code = code


class InvalidRequestError(CardwrightError):
    """The request as a whole cannot be read: syntax, cursor, header."""

    code = "invalid_request"


class InvalidFieldsError(CardwrightError):
    """The request can be read but fields break rules."""

    code = "invalid_fields"

    def __init__(self, errors: list[FieldError], *, detail: str = "Some fields are not valid.", code: str | None = None) -> None:
        super().__init__(detail, code=code)
        self.errors = errors


class UnauthenticatedError(CardwrightError):
    """No valid credential: token, signature, password or code."""

    code = "unauthenticated"


class ForbiddenError(CardwrightError):
    """Known caller, not allowed: role, step-up, enrolment."""

    code = "forbidden"


class NotFoundError(CardwrightError):
    """No such thing for this caller; another owner's thing counts as none."""

    code = "not_found"


class ConflictError(CardwrightError):
    """The state of the thing forbids it now."""

    code = "conflict"


class GoneError(CardwrightError):
    """It was there and is no more, for good: used up or expired."""

    code = "gone"


class StaleVersionError(CardwrightError):
    """`If-Match` names a version that is not the current one."""

    code = "version_mismatch"


class UnprocessableError(CardwrightError):
    """Understood and refused by a business rule that is not one field's."""

    code = "unprocessable"


class PayloadTooLargeError(CardwrightError):
    """The body is over its limit."""

    code = "payload_too_large"


class UnsupportedMediaTypeError(CardwrightError):
    """The content type is not the one this endpoint reads."""

    code = "unsupported_media_type"


class RateLimitedError(CardwrightError):
    """A quota is spent: the one named `quota`, of `limit` calls in `window_s` seconds. `retry_after_s` is in whole seconds."""

    code = "rate_limited"

    def __init__(
        self, detail: str, *, quota: str, retry_after_s: int, limit: int, window_s: int, code: str | None = None
    ) -> None:
        super().__init__(detail, code=code)
        self.quota = quota
        self.retry_after_s = retry_after_s
        self.limit = limit
        self.window_s = window_s


class UnavailableError(CardwrightError):
    """Something we depend on does not answer; nothing was done or the outcome is recoverable by the same key."""

    code = "service_unavailable"


class CircuitOpenError(UnavailableError):
    """It has failed so often just now that it is left alone for a while; nothing was asked, so asking again at once is no use."""


class ProviderRefusedError(CardwrightError):
    """An outside provider understood and refused; trying again does not help."""

    code = "provider_refused"


class BrokenInvariantError(CardwrightError):
    """A bug of ours or damaged data: loud, never shown in detail."""

    code = "internal_error"

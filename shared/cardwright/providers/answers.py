"""How an HTTP answer of an outside party is to be read: what did not do what was asked, and what cannot be read."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from cardwright.kernel import jsontext
from cardwright.kernel.errors import CardwrightError, InvalidRequestError, ProviderRefusedError, UnavailableError
from cardwright.providers.keys import WrongKeyError

M = TypeVar("M", bound=BaseModel)

# The party does not know the key. 403 is not that: it knows the key and refuses what is asked with it, for one program perhaps.
_UNKNOWN_KEY = 401
# Not a refusal: slow down, come back, or our own key being rotated.
_LATER = frozenset({_UNKNOWN_KEY, 408, 425, 429})
# Another request with the same idempotency key is under way.
_UNDER_WAY = 409


def may_pass(status: int) -> bool:
    """True when the same request may succeed later, so that the party counts as unavailable and not as refusing."""
    return status in _LATER or status >= 500


def processor_unavailable() -> UnavailableError:
    """The outcome of a call to a processor is not known, or its fault is transient."""
    return UnavailableError("The processor does not answer.", code="processor_unavailable")


def processor_refused() -> ProviderRefusedError:
    """The processor understood and refused."""
    return ProviderRefusedError("The processor refused.", code="processor_refused")


def processor_fault(status: int) -> CardwrightError | WrongKeyError:
    """What a vendor's status outside 2xx means; 1xx and 3xx are no answer to what was asked."""
    if status == _UNKNOWN_KEY:
        return WrongKeyError()
    if may_pass(status) or status == _UNDER_WAY or status < 400:
        return processor_unavailable()
    return processor_refused()


def read_processor(body: bytes | str, model: type[M], errors: frozenset[str] = frozenset({"error"})) -> M:
    """Read the body of a 2xx answer; numbers never pass through float.

    Raises ProviderRefusedError processor_refused when one of the names in `errors` stands in it with a value, and
    UnavailableError processor_unavailable when it is not what it must be: what was done is then not known.
    """
    try:
        document = jsontext.parse(body.encode() if isinstance(body, str) else body)
        if isinstance(document, dict) and any(document.get(name) for name in errors):
            raise processor_refused()
        return model.model_validate(document)
    except (InvalidRequestError, ValidationError):
        # The cause is left out: it quotes the answer, which may hold a card number.
        raise processor_unavailable() from None

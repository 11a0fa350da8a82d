"""What providers of message channels have alike: their settings, and what each kind of failure is called."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cardwright.kernel.errors import BrokenInvariantError, CardwrightError, ProviderRefusedError, UnavailableError
from cardwright.notifications.ports import DeadAddressError
from cardwright.providers.answers import may_pass

M = TypeVar("M", bound=BaseModel)

# A provider's part of the channels' secret; asked at each message, so that what is in it may rotate.
Settings = Callable[[], Mapping[str, Any]]


def read_settings(settings: Settings, model: type[M]) -> M:
    """A provider's settings as it needs them. Raises BrokenInvariantError, which tells nothing of the values."""
    try:
        return model.model_validate(settings())
    except (TypeError, ValidationError):
        raise BrokenInvariantError("a message provider's settings have not the shape they must have") from None


def unavailable() -> UnavailableError:
    """Whether the message was taken is not known, or it was not and later may be."""
    return UnavailableError("The message channel does not answer.", code="messages_unavailable")


def refused() -> ProviderRefusedError:
    """The provider does not take this message, now or later."""
    return ProviderRefusedError("The message was refused.", code="messages_refused")


def dead_address() -> DeadAddressError:
    """The provider takes nothing for this address any more."""
    return DeadAddressError("The address takes no messages.", code="address_dead")


def fault(status: int) -> CardwrightError:
    """What an HTTP status outside 2xx means where nothing else is known; 1xx and 3xx are no answer to what was asked."""
    return unavailable() if may_pass(status) or status < 400 else refused()

"""Simulated message channels: mail, SMS and push handed over HTTP to a mailbox that shows them."""

from collections.abc import Callable
from typing import Literal
from uuid import UUID

import httpx
from pydantic import BaseModel, Field, ValidationError

from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import Rendered
from cardwright.providers.sending import dead_address, fault, unavailable

_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
# The simulator's word for an address that takes nothing any more: a bounce, a token that is not registered.
_GONE = 410


class _Taken(BaseModel):
    id: str = Field(min_length=1, max_length=200)


class SimulatedChannel:
    """One channel of the simulator. `api_key` is asked at each message, so that it may rotate.

    Our message id is the idempotency key: the simulator delivers a repeat once.
    """

    name = "simulated"

    def __init__(
        self,
        channel: Literal["email", "sms", "push"],
        url: str,
        api_key: Callable[[], Secret[str]],
        *,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._channel = channel
        self._api_key = api_key
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False, transport=transport)

    def send(self, to: Secret[str], message: Rendered, message_id: UUID) -> str | None:
        """Hand a message over; return the simulator's id of it.

        Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused, DeadAddressError address_dead.
        """
        wanted = {
            "channel": self._channel,
            "to": to.reveal(),
            "subject": message.subject,
            "body": message.body,
            "data": dict(message.data),
        }
        headers = {"Authorization": f"Bearer {self._api_key().reveal()}", "Idempotency-Key": str(message_id)}
        try:
            answer = self._http.post("/v1/messages", json=wanted, headers=headers)
        except httpx.HTTPError:
            # The cause holds the request, and that the recipient and the code.
            raise unavailable() from None
        if answer.status_code == _GONE:
            raise dead_address()
        if not answer.is_success:
            raise fault(answer.status_code)
        try:
            return _Taken.model_validate_json(answer.content).id
        except ValidationError:
            # The outcome is open, and a repeat is delivered once.
            raise unavailable() from None

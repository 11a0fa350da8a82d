"""Simulated message channels: mail, SMS and push handed over HTTP to a mailbox that shows them."""

from collections.abc import Callable, Mapping
from typing import Literal

import httpx

from cardwright.kernel.errors import ProviderRefusedError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.providers.answers import may_pass

_TIMEOUT = httpx.Timeout(5.0, connect=3.0)


class SimulatedMessages:
    """Sends over HTTP. `api_key` is asked at each call, so that it may rotate."""

    def __init__(self, url: str, api_key: Callable[[], Secret[str]], *, transport: httpx.BaseTransport | None = None) -> None:
        self._api_key = api_key
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, trust_env=False, transport=transport)

    def send(self, channel: Literal["email", "sms", "push"], to: str, subject: str, body: str, data: Mapping[str, str]) -> None:
        """Hand a message over. Raises UnavailableError messages_unavailable, ProviderRefusedError messages_refused."""
        message = {"channel": channel, "to": to, "subject": subject, "body": body, "data": dict(data)}
        try:
            answer = self._http.post(
                "/v1/messages", json=message, headers={"Authorization": f"Bearer {self._api_key().reveal()}"}
            )
        except httpx.HTTPError:
            # The cause holds the request, and that the recipient and the code.
            raise _unavailable() from None
        if may_pass(answer.status_code):
            raise _unavailable()
        if not answer.is_success:
            raise ProviderRefusedError("The message was refused.", code="messages_refused")


def _unavailable() -> UnavailableError:
    return UnavailableError("The message channel does not answer.", code="messages_unavailable")

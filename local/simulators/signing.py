"""Signed posts to the issuer: Standard Webhooks headers, stamped by the shared clock."""

import secrets

from standardwebhooks import Webhook

from local.clock import ClockFile


class Signer:
    """Signs bodies with one party's secret (`whsec_...`)."""

    def __init__(self, secret: str, clock: ClockFile) -> None:
        """Keep the key; raises ValueError when the secret is not base64."""
        self._webhook = Webhook(secret)
        self._clock = clock

    def headers(self, body: str, message_id: str | None = None) -> dict[str, str]:
        """The headers for a JSON body; a repeated delivery gives the same `message_id`."""
        message_id = message_id or f"msg_{secrets.token_hex(12)}"
        now = self._clock.now()
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body),
        }

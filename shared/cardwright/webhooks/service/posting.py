"""One signed post and what came of it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.kernel.signatures import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from cardwright.platform.egress import EgressError
from cardwright.platform.telemetry import logger
from cardwright.webhooks import rules
from cardwright.webhooks.ports import Sender

_HEADERS = {"Content-Type": "application/json", "User-Agent": "Cardwright-Webhooks/1.0"}


@dataclass(frozen=True, slots=True)
class Posted:
    """The outcome of one attempt; without an answer `status_code` is None and `outcome` says why."""

    started_at: datetime
    latency_ms: int
    status_code: int | None
    outcome: str
    body: bytes = b""
    retry_after_s: int | None = None


class Poster:
    """Signs and sends; every kind of failure becomes an outcome."""

    def __init__(self, sender: Sender, clock: Clock, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._sender = sender
        self._clock = clock
        self._monotonic = monotonic

    def post(self, url: str, secrets: Callable[[], Sequence[Secret[str]]], message_id: UUID, body: bytes) -> Posted | None:
        """Post the body, signed now. None when the secrets could not be had or nothing was sent: that is no attempt."""
        started_at, began = self._clock.now(), self._monotonic()
        try:
            keys = secrets()
            timestamp = int(started_at.timestamp())
            headers = _HEADERS | {
                ID_HEADER: str(message_id),
                TIMESTAMP_HEADER: str(timestamp),
                SIGNATURE_HEADER: sign(keys, str(message_id), timestamp, body),
            }
            answer = self._sender.post(url, headers, body)
        except EgressError as error:
            return Posted(started_at, self._since(began), None, error.code)
        except UnavailableError:
            return None
        except Exception:
            # A bug or damaged data: it counts as an attempt, so that it ends and does not hold up others for ever.
            logger.exception("a webhook could not be posted")
            return Posted(started_at, self._since(began), None, "internal_error")
        return Posted(
            started_at,
            self._since(began),
            answer.status,
            rules.outcome_of(answer.status),
            answer.body,
            rules.retry_after_s(answer.headers, self._clock.now()),
        )

    def _since(self, began: float) -> int:
        return int((self._monotonic() - began) * 1000)

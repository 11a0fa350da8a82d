"""Secrets by name: over the Lambda extension's local HTTP on the light path; values are cached and asked again after a while."""

import http.client
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from urllib.parse import quote

from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret

REFRESH_S = 300.0
# After a refresh failed, the held value is used this long before the next try.
RETRY_S = 15.0


class SecretStore(ABC):
    """Holds JSON secrets for a while; where they are read from is a subclass's matter."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._values: dict[str, tuple[float, Secret[Mapping[str, object]]]] = {}

    def get(self, name: str) -> Secret[Mapping[str, object]]:
        """Return the secret's JSON object, at most REFRESH_S seconds old. Raises UnavailableError when it cannot be had.

        A value already held is used on when a refresh fails: a rotation keeps the older value valid for longer than that.
        """
        held = self._values.get(name)
        if held is not None and self._monotonic() - held[0] < REFRESH_S:
            return held[1]
        with self._lock:
            held = self._values.get(name)
            if held is not None and self._monotonic() - held[0] < REFRESH_S:
                return held[1]
            try:
                value = self._fetch(name, timeout_s=2.0 if held is None else 0.3)
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
                if held is not None:
                    self._values[name] = (self._monotonic() - REFRESH_S + RETRY_S, held[1])
                    return held[1]
                raise UnavailableError("A secret cannot be read.", code="secrets_unavailable") from error
            self._values[name] = (self._monotonic(), value)
            return value

    def _fetch(self, name: str, timeout_s: float) -> Secret[Mapping[str, object]]:
        value = json.loads(self._read(name, timeout_s))
        if not isinstance(value, dict):
            raise ValueError("a secret must be a JSON object")
        return Secret(value)

    @abstractmethod
    def _read(self, name: str, timeout_s: float) -> str:
        """The secret's text. Raises OSError, HTTPException, ValueError, KeyError or TypeError when it cannot be had."""


class ExtensionStore(SecretStore):
    """Reads secrets through the AWS Parameters and Secrets Lambda extension (GET /secretsmanager/get).

    `port` is where the extension listens on localhost; `session_token` proves that we are inside the function.
    """

    def __init__(self, port: int, session_token: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(monotonic=monotonic)
        self._port = port
        self._session_token = session_token

    def _read(self, name: str, timeout_s: float) -> str:
        connection = http.client.HTTPConnection("localhost", self._port, timeout=timeout_s)
        try:
            connection.request(
                "GET",
                f"/secretsmanager/get?secretId={quote(name, safe='')}",
                headers={"X-Aws-Parameters-Secrets-Token": self._session_token},
            )
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise OSError(f"the secrets extension answered {response.status}")
        finally:
            connection.close()
        text: str = json.loads(body)["SecretString"]
        return text

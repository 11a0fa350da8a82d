"""Keys of the function's role under SnapStart: from the sandbox's own HTTP, by the standard library, held until they expire."""

import http.client
import ipaddress
import json
import threading
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from cardwright.kernel.clock import Clock
from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.platform.sigv4 import Credentials

# Container credentials (AWS SDKs and Tools reference): a token may go in the clear to this machine and to these addresses alone.
_HOSTS = frozenset({"localhost", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
# New keys are asked for this long before the held ones expire; until then a failure to get them harms nobody.
MARGIN = timedelta(minutes=5)
_RETRY = timedelta(seconds=15)
_TIMEOUT_S = 2.0


class ContainerCredentials:
    """Asks AWS_CONTAINER_CREDENTIALS_FULL_URI with its token; any number of threads may share it.

    `clock` is the machine's, not the local stage's advancing one: expiry is the issuer's time.
    Raises BrokenInvariantError for a URI that must not be told the token.
    """

    def __init__(self, uri: str, authorization_token: str, clock: Clock) -> None:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        if parts.scheme not in ("http", "https") or not (parts.scheme == "https" or _near(host)):
            raise BrokenInvariantError("the URI of the container's credentials is not one that may be asked")
        self._connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port = host, parts.port
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._token = authorization_token
        self._clock = clock
        self._lock = threading.Lock()
        self._held: tuple[Credentials, datetime] | None = None
        self._ask_at = datetime.min.replace(tzinfo=clock.now().tzinfo)

    def get(self) -> Credentials:
        """Keys that are valid now. Raises UnavailableError credentials_unavailable when there are none to be had."""
        with self._lock:
            now = self._clock.now()
            if self._held is not None and now < self._ask_at:
                return self._held[0]
            try:
                credentials, expires = self._fetch()
            except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
                if self._held is not None and now < self._held[1]:
                    self._ask_at = now + _RETRY
                    return self._held[0]
                raise UnavailableError("The function's credentials cannot be had.", code="credentials_unavailable") from error
            self._held, self._ask_at = (credentials, expires), expires - MARGIN
            return credentials

    def _fetch(self) -> tuple[Credentials, datetime]:
        connection = self._connection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            headers = {"Accept": "application/json"}
            if self._token:
                headers["Authorization"] = self._token
            connection.request("GET", self._path, headers=headers)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise OSError(f"the credentials endpoint answered {response.status}")
        finally:
            connection.close()
        told = json.loads(body)
        expires = datetime.fromisoformat(told["Expiration"].replace("Z", "+00:00"))
        if expires.tzinfo is None:
            raise ValueError("the credentials' expiry has no time zone")
        return Credentials(_text(told["AccessKeyId"]), _text(told["SecretAccessKey"]), _text(told["Token"])), expires


def _near(host: str) -> bool:
    try:
        return host in _HOSTS or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a part of the credentials is missing")
    return value

"""A client of the platform written from its contract: log in, step up, call; and of the simulated card network."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import httpx
import pyotp

_TIMEOUT_S = 30.0
# RFC 6238: a new code every 30 seconds.
_STEP_S = 30
_UNAUTHENTICATED = 401


class StoryError(AssertionError):
    """What happened is not what was expected; the message says both."""


def expect(answer: httpx.Response, status: int, doing: str) -> dict[str, Any]:
    """The JSON object of an answer that must have this status. Raises StoryError with the problem's code and detail."""
    if answer.status_code != status:
        told = answer.text[:300].replace("\n", " ")
        raise StoryError(f"{doing}: expected {status}, got {answer.status_code} {told}")
    document = answer.json() if answer.content else {}
    if not isinstance(document, dict):
        raise StoryError(f"{doing}: expected a JSON object, got {type(document).__name__}")
    return document


def require(what: str, expected: object, got: object) -> None:
    """Raise StoryError unless both are equal."""
    if expected != got:
        raise StoryError(f"{what}: expected {expected}, got {got}")


class Network:
    """The simulated card network and the clock of the local stack."""

    def __init__(self, simulator_url: str) -> None:
        self._http = httpx.Client(base_url=simulator_url, timeout=_TIMEOUT_S, trust_env=False)

    def now(self) -> datetime:
        """What time it is on the stack."""
        return datetime.fromisoformat(expect(self._http.get("/clock"), 200, "asking the clock")["now"])

    def advance(self, duration: str) -> None:
        """Move the stack's clock forward by an ISO 8601 duration."""
        expect(self._http.post("/clock", json={"advance": duration}), 200, f"advancing the clock by {duration}")

    def authorize(self, purchase: Mapping[str, Any]) -> dict[str, Any]:
        """Pay with a card: the network asks the issuer and gives its decision back."""
        return expect(self._http.post("/simulate/authorize", json=dict(purchase)), 200, "paying")

    def tell(self, kind: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Let the network tell what became of a transaction (`clear`, `reverse`, ...), and give the issuer's answer back."""
        return expect(self._http.post(f"/simulate/{kind}", json=dict(event)), 200, f"telling the issuer to {kind}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class Client:
    """One signed-in user."""

    def __init__(self, base_url: str, user: Mapping[str, str], network: Network) -> None:
        """`user` as in stack.json: email, password, totp_secret."""
        self._http = httpx.Client(base_url=f"{base_url}/api/v1", timeout=_TIMEOUT_S, trust_env=False)
        self._user = user
        self._network = network
        self._last_step = 0

    def code(self) -> str:
        """A code of the user's authenticator, by the stack's clock, that was not used before: each is taken once.

        The code of the next 30-second step is accepted too; for the one after that the clock is moved on.
        """
        step = int(self._network.now().timestamp()) // _STEP_S
        if self._last_step > step:
            self._network.advance(f"PT{_STEP_S}S")
            step += 1
        self._last_step = max(step, self._last_step + 1)
        return pyotp.TOTP(self._user["totp_secret"]).at(self._last_step * _STEP_S)

    def log_in(self) -> None:
        """Log in with password and second factor.

        When another client of this user took the authenticator's codes of this minute, the clock is moved past them.
        """
        if not self._try_log_in():
            self._network.advance(f"PT{2 * _STEP_S}S")
            if not self._try_log_in():
                raise StoryError("giving the second factor: its code was used before, twice")

    def _try_log_in(self) -> bool:
        credentials = {"email": self._user["email"], "password": self._user["password"]}
        first = expect(self._http.post("/auth/login", json=credentials), 200, "logging in")
        if first.get("mfa_required") is not True:
            raise StoryError(f"logging in: expected to be asked for a second factor, got {sorted(first)}")
        second = {"mfa_token": first["mfa_token"], "code": self.code()}
        answer = self._http.post("/auth/mfa/verify", json=second)
        if answer.status_code == _UNAUTHENTICATED and answer.json().get("code") == "mfa_code_used":
            return False
        self._use(expect(answer, 200, "giving the second factor"))
        return True

    def step_up(self) -> None:
        """Prove the second factor afresh."""
        answer = self._http.post("/auth/mfa/challenge", json={"code": self.code()})
        self._use(expect(answer, 200, "stepping up"))

    def _use(self, tokens: Mapping[str, Any]) -> None:
        self._http.headers["Authorization"] = f"Bearer {tokens['access_token']}"

    @property
    def access_token(self) -> str:
        """The token that calls are made with."""
        return self._http.headers["Authorization"].removeprefix("Bearer ")

    def get(self, path: str, **query: str | int) -> dict[str, Any]:
        """GET a document."""
        return expect(self._http.get(path, params=query), 200, f"GET {path}")

    def post(self, path: str, body: Mapping[str, Any] | None = None, *, status: int = 200) -> dict[str, Any]:
        """POST with an idempotency key of its own."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        answer = self._http.post(path, json=None if body is None else dict(body), headers=headers)
        return expect(answer, status, f"POST {path}")

    def put(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """PUT with an idempotency key of its own."""
        answer = self._http.put(path, json=dict(body), headers={"Idempotency-Key": str(uuid.uuid4())})
        return expect(answer, 200, f"PUT {path}")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

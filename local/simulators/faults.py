"""Faults of the outside parties: what can be set, the file all simulators read, and how a fault acts on a request."""

import asyncio
import contextlib
import fcntl
import json
import os
import random
import re
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LONGEST_HANG_S: Final = 30.0
_OK: Final = 200
_COLLECTION: Final = re.compile(r"/v1/[^/]+")
_GARBAGE: Final = b'{"id": "0f3c", "token": "card_'


class PartyFaults(BaseModel):
    """How one party misbehaves; all of it off unless set."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    latency_ms: int = Field(0, ge=0, le=30_000, description="Added before each request is looked at")
    error_rate: float = Field(0.0, ge=0, le=1, description="Share of requests refused with error_status, nothing done")
    error_status: int = Field(503, ge=400, le=599)
    timeout_rate: float = Field(0.0, ge=0, le=1, description="Share of requests never answered, nothing done")
    duplicate_rate: float = Field(0.0, ge=0, le=1, description="Share of its own deliveries made twice")
    reorder_rate: float = Field(0.0, ge=0, le=1, description="Share of its own deliveries held back past later ones")
    fail_next: int = Field(0, ge=0, le=10_000, description="So many of the next requests fail with error_status")
    create_then_timeout: bool = Field(False, description="Creating calls take effect and are never answered")
    garbage: bool = Field(False, description="Every answer is cut off in the middle of its JSON")


class ProcessorFaults(PartyFaults):
    """The processor can also get a card wrong, refuse with a status that says all is well, and tell events late or too often."""

    wrong_currency: bool = Field(False, description="Cards are made and answered in another currency than asked for")
    wrong_bin: bool = Field(False, description="Cards are made and answered under another BIN than asked for")
    error_inside: bool = Field(False, description="Every call is answered 200 with an error in its body, nothing done")
    late_ms: int = Field(0, ge=0, le=3_600_000, description="Events of transactions are sent so much later")
    double_reversal: bool = Field(False, description="Every reversal is told once more, as another event")
    answer_lost_rate: float = Field(0.0, ge=0, le=1, description="Share of events whose answer it never sees: sent again")


class MessageFaults(PartyFaults):
    """The message channels can also refuse: an address for good, one message after the other, or a whole channel."""

    dead_addresses: list[str] = Field(
        default_factory=list, max_length=1_000, description="Addresses answered 410: bounced, unsubscribed, not registered"
    )
    refused_addresses: list[str] = Field(
        default_factory=list, max_length=1_000, description="Addresses whose messages are each answered 422"
    )
    refused_channels: list[Literal["email", "sms", "push"]] = Field(
        default_factory=list, max_length=3, description="Channels whose messages are each answered 422"
    )


class Faults(BaseModel):
    """The faults of all parties."""

    model_config = ConfigDict(extra="forbid", strict=True)

    processor: ProcessorFaults = Field(default_factory=ProcessorFaults)
    kyc: PartyFaults = Field(default_factory=PartyFaults)
    messages: MessageFaults = Field(default_factory=MessageFaults)


class FaultFile:
    """The faults as set now, shared among the simulators through a small JSON file."""

    def __init__(self, path: Path) -> None:
        """Read and write the file at `path`; without one, no party has faults."""
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._faults = Faults()

    def read(self) -> Faults:
        """The faults; the file is read again only when it was replaced."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._seen, self._faults = None, Faults()
            return self._faults
        seen = (status.st_mtime_ns, status.st_ino)
        if seen != self._seen:
            self._faults = Faults.model_validate_json(self._path.read_bytes())
            self._seen = seen
        return self._faults

    def replace(self, faults: Faults) -> Faults:
        """Set all faults anew."""
        with self._locked():
            return self._write(faults)

    def merge(self, given: dict[str, Any]) -> Faults:
        """Set the given fields and leave the others; one bad field and nothing changes: pydantic.ValidationError."""
        with self._locked():
            merged: dict[str, Any] = self.read().model_dump()
            for party, fields in given.items():
                known = merged.get(party)
                merged[party] = {**known, **fields} if isinstance(known, dict) and isinstance(fields, dict) else fields
            return self._write(Faults.model_validate(merged))

    def take_failure(self, party: str) -> bool:
        """Use up one of the party's `fail_next`, if any is left."""
        if not _of(self.read(), party).fail_next:
            return False
        with self._locked():
            faults = self.read()
            left = _of(faults, party).fail_next
            if left:
                self._write(faults.model_copy(update={party: _of(faults, party).model_copy(update={"fail_next": left - 1})}))
            return left > 0

    def _write(self, faults: Faults) -> Faults:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text(json.dumps(faults.model_dump()))
        fresh.replace(self._path)
        return faults

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f"{self._path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _of(faults: Faults, party: str) -> PartyFaults:
    found: PartyFaults = getattr(faults, party)
    return found


class Misbehaviour:
    """One party's faults, as its own code asks for them."""

    def __init__(self, file: FaultFile, party: str) -> None:
        """Play `party`'s part of the file."""
        self.file = file
        self.party = party
        # Chance is what is wanted here, from a source no test run can have seeded.
        self._chance = random.SystemRandom()
        self._overtaken = asyncio.Event()

    def now(self) -> PartyFaults:
        """The party's faults as set now."""
        return _of(self.file.read(), self.party)

    def processor(self) -> ProcessorFaults:
        """The processor's faults as set now, whichever party asks."""
        return self.file.read().processor

    def messages(self) -> MessageFaults:
        """The message channels' faults as set now."""
        return self.file.read().messages

    def draw(self, rate: float) -> bool:
        """True in a share of `rate` of all draws."""
        return self._chance.random() < rate

    async def hold_back(self, at_most_s: float) -> None:
        """For a delivery drawn for reordering: wait until another has gone out, but not for long."""
        if not self.draw(self.now().reorder_rate):
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._overtaken.wait(), at_most_s)

    def gone_out(self) -> None:
        """Tell deliveries held back that one has overtaken them."""
        self._overtaken.set()
        self._overtaken = asyncio.Event()

    def twice(self) -> bool:
        """Whether this delivery is made twice."""
        return self.draw(self.now().duplicate_rate)


class FaultyApi:
    """ASGI middleware: the party's faults, acting on the calls to its API under `/v1/` and on nothing else."""

    def __init__(self, app: Application, misbehaviour: Misbehaviour) -> None:
        """Stand before `app`."""
        self._app = app
        self._misbehaviour = misbehaviour

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or misbehave as set."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        party = self._misbehaviour
        faults = party.now()
        if faults.latency_ms:
            await asyncio.sleep(faults.latency_ms / 1_000)
        if party.file.take_failure(party.party) or party.draw(faults.error_rate):
            await _refuse(send, faults.error_status)
        elif party.draw(faults.timeout_rate):
            await _hang(receive)
        elif isinstance(faults, ProcessorFaults) and faults.error_inside:
            await _refuse(send, _OK)
        elif faults.create_then_timeout and _creates(scope):
            await self._app(scope, receive, _swallow)
            await _hang(receive)
        elif faults.garbage:
            await self._app(scope, receive, _Garbler(send))
        else:
            await self._app(scope, receive, send)


def _creates(scope: Scope) -> bool:
    """True for a POST to a collection, /v1/<things>; one to a thing in it makes nothing that could be found again."""
    return scope["method"] == "POST" and _COLLECTION.fullmatch(scope["path"]) is not None


async def _refuse(send: Send, status: int) -> None:
    body = json.dumps({"error": {"code": "simulated_fault", "message": "this party is set to fail"}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _hang(receive: Receive) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LONGEST_HANG_S):
            while (await receive())["type"] != "http.disconnect":
                pass


async def _swallow(_message: Message) -> None:
    return


class _Garbler:
    """Sends the status of the real answer with a body that is no JSON."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_GARBAGE)).encode())]
            await self._send({**message, "headers": headers})
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            await self._send({"type": "http.response.body", "body": _GARBAGE})

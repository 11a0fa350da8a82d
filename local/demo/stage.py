"""Where the chapters of the demo are played."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from local.demo.client import Client, Network


class Note(Protocol):
    """What a step says of itself once it is done."""

    outcome: str


class Stage(Protocol):
    """Where the story is played."""

    @property
    def client(self) -> Client: ...
    @property
    def network(self) -> Network: ...
    def step(self, title: str) -> AbstractContextManager[Note]: ...
    def pay(self, purchase: Mapping[str, Any]) -> dict[str, Any]: ...
    def issue(self, wanted: Mapping[str, Any]) -> dict[str, Any]: ...

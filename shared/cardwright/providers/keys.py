"""A party's API keys: two may be good at once, so that one is rotated without a refused call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.kernel.secret import Secret

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)


class WrongKeyError(Exception):
    """The party does not know the key it was shown; never leaves `with_keys`."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a party's secret holds: its API keys, newest first, and the settings its adapter needs."""

    api_keys: tuple[Secret[str], ...]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def of_program(self, program_id: UUID, model: type[M]) -> M:
        """What a vendor calls our program: settings["default"], and over it settings["programs"][program id].

        Raises BrokenInvariantError, which tells nothing of the values.
        """
        default, programs = self.settings.get("default", {}), self.settings.get("programs", {})
        try:
            return model.model_validate({**default, **programs.get(str(program_id), {})})
        except (AttributeError, TypeError, ValidationError):
            raise BrokenInvariantError("a provider's settings have not the shape they must have") from None


def read_credentials(document: Mapping[str, Any]) -> Credentials:
    """Read a secret: {"api_keys": [...]} newest first, or {"api_key": ...}, with or without {"settings": {...}}.

    Raises BrokenInvariantError, which tells nothing of the value.
    """
    listed = document["api_keys"] if "api_keys" in document else [document.get("api_key")]
    settings = document.get("settings", {})
    if not isinstance(listed, list) or not listed or not isinstance(settings, dict):
        raise BrokenInvariantError("a provider's secret has not the shape it must have")
    if not all(isinstance(key, str) and key for key in listed):
        raise BrokenInvariantError("a provider's secret has not the shape it must have")
    return Credentials(tuple(Secret(key) for key in listed), settings)


def with_keys(keys: Sequence[Secret[str]], call: Callable[[Secret[str]], T]) -> T:
    """Return what `call` answers with the first key that the party takes; a WrongKeyError of `call` means the next key.

    Raises UnavailableError processor_unavailable when none is taken: that is mended on our side, and passes.
    """
    for key in keys:
        try:
            return call(key)
        except WrongKeyError:
            continue
    raise UnavailableError("The processor does not answer.", code="processor_unavailable")

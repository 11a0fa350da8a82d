"""What identity asks for: the way to people's mailboxes, and the tools its use cases are built from."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from cardwright.kernel.clock import Clock
from cardwright.kernel.secret import Secret
from cardwright.platform.cache import Cache
from cardwright.platform.ids import IdSource
from cardwright.platform.keys import DataKeys, MacKey, SigningKeys
from cardwright.platform.postgres import Database
from cardwright.ratelimit.service import RateLimiter

Channel = Literal["email", "sms", "push"]


class Messages(Protocol):
    """Carries messages to people."""

    def send(self, channel: Channel, to: str, subject: str, body: str, data: Mapping[str, str]) -> None:
        """Hand a message over. Raises UnavailableError, ProviderRefusedError; neither names the recipient."""
        ...


class DerivedKeys(Protocol):
    """Keys for a purpose, the active one first."""

    def keys_for(self, purpose: str) -> Sequence[Secret[bytes]]:
        """Raise UnavailableError."""
        ...


class IdentitySettings(Protocol):
    """What identity must know of the stage."""

    @property
    def public_url(self) -> str: ...


class IdentityTools(Protocol):
    """Everything a use case of identity may take, each made when it is first asked for: a function that only checks tokens
    never needs the right to sign them."""

    @property
    def settings(self) -> IdentitySettings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def ids(self) -> IdSource: ...
    @property
    def database(self) -> Database: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def mac(self) -> MacKey: ...
    @property
    def data_keys(self) -> DataKeys: ...
    @property
    def signing(self) -> SigningKeys: ...
    @property
    def sealer(self) -> DerivedKeys: ...
    @property
    def messages(self) -> Messages: ...
    @property
    def ratelimit(self) -> RateLimiter: ...

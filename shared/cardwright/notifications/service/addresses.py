"""Addresses by keyed digest, and what providers tell of them afterwards."""

import hmac
from hashlib import sha256

from cardwright.kernel.clock import Clock
from cardwright.kernel.secret import Secret
from cardwright.notifications.ports import DerivedKeys, Kind
from cardwright.notifications.rules import Because, Channel
from cardwright.notifications.store import devices
from cardwright.notifications.store import messages as store
from cardwright.platform.postgres import Actor, Database

_PROVIDER = Actor(None, "system", reason="message provider")


class Digests:
    """Digests of addresses: they are found by them and cannot be had back (six billion numbers are soon tried, but for the key).

    The first is of the active key; a rotated one is still known by the others.
    """

    def __init__(self, keys: DerivedKeys) -> None:
        self._keys = keys

    def of(self, kind: Kind, address: Secret[str]) -> list[bytes]:
        """Digests of one address, under each key. Raises UnavailableError."""
        # A mailbox is the same however its name is written, as far as those go who tell us that it is dead.
        text = address.reveal().strip().lower() if kind == "email" else address.reveal()
        return self._under("notification-address", f"{kind}\0{text}")

    def of_code(self, device: str, code: Secret[str]) -> list[bytes]:
        """Digests of a device's code, under each key. Raises UnavailableError."""
        return self._under("notification-code", f"{device}\0{code.reveal()}")

    def _under(self, purpose: str, text: str) -> list[bytes]:
        return [hmac.digest(key.reveal(), text.encode(), sha256) for key in self._keys.keys_for(purpose)]


class NotificationBounces:
    """Takes what providers tell of addresses after they took a message; under role worker, for no user."""

    def __init__(self, database: Database, clock: Clock, keys: DerivedKeys) -> None:
        self._database = database
        self._clock = clock
        self._digests = Digests(keys)

    def record_bounce(self, kind: Kind, address: Secret[str], because: Because) -> None:
        """Send nothing more to an address. Told twice, or of an address nobody has, it does no harm. Raises UnavailableError.

        An e-mail address is remembered by its digest; a number's or token's device is DEAD.
        """
        digests, now = self._digests.of(kind, address), self._clock.now()
        with self._database.transaction(_PROVIDER) as tx:
            if kind == "email":
                store.suppress(tx, digests[0], because, now)
            else:
                devices.bury_address(tx, Channel(kind), digests, now)

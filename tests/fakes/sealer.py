"""A real sealer whose key is made here instead of fetched."""

import base64
import os
from collections.abc import Mapping
from typing import cast

from cardwright.kernel.errors import UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import Sealer
from cardwright.platform.secrets import SecretStore


class HeldSecrets:
    """Gives one sealing secret, or none while it is `away`."""

    def __init__(self) -> None:
        self.away = False
        self._value: Mapping[str, object] = {
            "active": "k1",
            "keys": {"k1": base64.b64encode(os.urandom(32)).decode()},
        }

    def get(self, _name: str) -> Secret[Mapping[str, object]]:
        """Return the secret."""
        if self.away:
            raise UnavailableError("away")
        return Secret(self._value)

    def sealer(self) -> Sealer:
        """A sealer under this secret."""
        return Sealer(cast(SecretStore, self), "sealing")

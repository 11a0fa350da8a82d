"""moto's in-memory objects as JSON and back: plain values, times, bytes, private keys, and a few named classes."""

import base64
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey as RsaKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from moto.kms.models import Alias, Grant, Key
from moto.kms.utils import ECDSAPrivateKey, RSAPrivateKey
from moto.secretsmanager.models import FakeSecret

_CLASSES: Final[dict[str, type[Any]]] = {
    kind.__name__: kind for kind in (Alias, ECDSAPrivateKey, FakeSecret, Grant, Key, RSAPrivateKey)
}
_TAG: Final = "$"


class UnpackableError(TypeError):
    """moto holds something this module does not know: its version changed, or a feature is used that is not kept."""


def pack(value: Any) -> str:
    """JSON text of a value. Raises UnpackableError rather than leave anything out."""
    return json.dumps(_pack(value), separators=(",", ":"))


def unpack(text: str) -> Any:
    """The value a text was packed from."""
    return _unpack(json.loads(text))


def _pack(value: Any) -> Any:  # noqa: PLR0911 - one line per kind of value reads best
    if value is None or type(value) in {str, int, float, bool}:
        return value
    if isinstance(value, bytes):
        return {_TAG: "bytes", "value": base64.b64encode(value).decode()}
    if isinstance(value, datetime):
        return {_TAG: "time", "value": value.isoformat()}
    if isinstance(value, tuple):
        return {_TAG: "tuple", "value": [_pack(item) for item in value]}
    if isinstance(value, list):
        return [_pack(item) for item in value]
    if isinstance(value, dict) and _TAG not in value and all(isinstance(key, str) for key in value):
        return {key: _pack(item) for key, item in value.items()}
    if isinstance(value, RsaKey | EllipticCurvePrivateKey):
        der = value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        return {_TAG: "pkcs8", "value": base64.b64encode(der).decode()}
    name = type(value).__name__
    if _CLASSES.get(name) is type(value):
        return {_TAG: name, "value": {key: _pack(item) for key, item in vars(value).items()}}
    raise UnpackableError(f"the emulator cannot keep a {type(value).__module__}.{name}")


def _unpack(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpack(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _TAG not in value:
        return {key: _unpack(item) for key, item in value.items()}
    kind, content = value[_TAG], value["value"]
    plain: Callable[[Any], Any] | None = _PLAIN.get(kind)
    if plain is not None:
        return plain(content)
    return revive(_CLASSES[kind], {key: _unpack(item) for key, item in content.items()})


_PLAIN: Final[dict[str, Callable[[Any], Any]]] = {
    "bytes": base64.b64decode,
    "time": datetime.fromisoformat,
    "tuple": lambda items: tuple(_unpack(item) for item in items),
    "pkcs8": lambda text: load_der_private_key(base64.b64decode(text), password=None),
}


def revive(kind: type[Any], attributes: dict[str, Any]) -> Any:
    """An object of `kind` with these attributes, its constructor not run."""
    thing = object.__new__(kind)
    vars(thing).update(attributes)
    return thing

"""KMS and envelope encryption: signing, MACs, wrapped data keys, PAN encryption, and sealing with a secret of ours."""

import base64
import threading
from collections.abc import Mapping

from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.aws import client
from cardwright.platform.ids import random_bytes
from cardwright.platform.secrets import SecretStore

NONCE_BYTES = 12


def keys_unavailable() -> UnavailableError:
    """What KMS failing looks like to callers."""
    return UnavailableError("The key service does not answer.", code="keys_unavailable")


class SigningKeys:
    """RSA keys in KMS for JWT RS256; the first signs, all verify (KMS asymmetric keys do not rotate by themselves)."""

    def __init__(self, key_arns: list[str]) -> None:
        self._arns = key_arns
        self._kms = client("kms")
        self._lock = threading.Lock()
        self._public: dict[str, bytes] = {}

    @property
    def active(self) -> str:
        """ARN of the key that signs."""
        return self._arns[0]

    def sign(self, message: bytes) -> bytes:
        """Sign with RSASSA-PKCS1-v1_5 and SHA-256. `message` is at most 4096 bytes. Raises UnavailableError."""
        try:
            answer = self._kms.sign(
                KeyId=self.active, Message=message, MessageType="RAW", SigningAlgorithm="RSASSA_PKCS1_V1_5_SHA_256"
            )
        except (BotoCoreError, ClientError) as error:
            raise keys_unavailable() from error
        return answer["Signature"]

    def public_keys(self) -> Mapping[str, bytes]:
        """DER SubjectPublicKeyInfo by ARN, fetched once. Raises UnavailableError."""
        with self._lock:
            for arn in self._arns:
                if arn not in self._public:
                    try:
                        self._public[arn] = self._kms.get_public_key(KeyId=arn)["PublicKey"]
                    except (BotoCoreError, ClientError) as error:
                        raise keys_unavailable() from error
            return dict(self._public)


class MacKey:
    """A KMS HMAC key: blind indexes and PAN fingerprints that nobody can compute offline (PCI DSS 3.5.1.1)."""

    def __init__(self, key_arn: str) -> None:
        self._arn = key_arn
        self._kms = client("kms")

    def mac(self, purpose: str, value: Secret[bytes]) -> bytes:
        """HMAC-SHA-256 (32 bytes) over purpose and value; the purpose keeps uses apart. Raises UnavailableError."""
        message = purpose.encode() + b"\x00" + value.reveal()
        try:
            return self._kms.generate_mac(KeyId=self._arn, Message=message, MacAlgorithm="HMAC_SHA_256")["Mac"]
        except (BotoCoreError, ClientError) as error:
            raise keys_unavailable() from error


class DataKeys:
    """Data keys wrapped by a KMS key, bound to an encryption context."""

    def __init__(self, key_arn: str) -> None:
        self._arn = key_arn
        self._kms = client("kms")

    def generate(self, context: Mapping[str, str]) -> tuple[Secret[bytes], bytes]:
        """Return a new 256-bit key and its wrapped form. Raises UnavailableError."""
        try:
            answer = self._kms.generate_data_key(KeyId=self._arn, KeySpec="AES_256", EncryptionContext=dict(context))
        except (BotoCoreError, ClientError) as error:
            raise keys_unavailable() from error
        return Secret(answer["Plaintext"]), answer["CiphertextBlob"]

    def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> Secret[bytes]:
        """Return the key. Raises UnavailableError, BrokenInvariantError when wrapped key and context do not belong together."""
        try:
            answer = self._kms.decrypt(KeyId=self._arn, CiphertextBlob=wrapped, EncryptionContext=dict(context))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "InvalidCiphertextException":
                raise BrokenInvariantError("A wrapped key does not belong to its context.") from error
            raise keys_unavailable() from error
        except BotoCoreError as error:
            raise keys_unavailable() from error
        return Secret(answer["Plaintext"])


def seal_with(key: Secret[bytes], plaintext: bytes, context: str) -> bytes:
    """AES-256-GCM with a random nonce in front and the context authenticated."""
    nonce = random_bytes(NONCE_BYTES)
    return nonce + AESGCM(key.reveal()).encrypt(nonce, plaintext, context.encode())


def open_with(key: Secret[bytes], sealed: bytes, context: str) -> bytes:
    """Undo `seal_with`. Raises BrokenInvariantError when key, context or bytes are not the ones that were sealed."""
    try:
        return AESGCM(key.reveal()).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], context.encode())
    except (InvalidTag, ValueError) as error:
        raise BrokenInvariantError("Sealed data does not open.") from error


class Sealer:
    """Seals small values at rest under a key from Secrets Manager; the key's name stands in front, so keys rotate.

    The secret is {"active": name, "keys": {name: base64 of 32 bytes}}.
    """

    def __init__(self, secrets: SecretStore, secret_name: str) -> None:
        self._secrets = secrets
        self._name = secret_name

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Seal under the active key; `context` must be given again to open. Raises UnavailableError."""
        active, keys = self._keys()
        return active.encode() + b":" + seal_with(keys[active], plaintext, context)

    def open(self, sealed: bytes, context: str) -> bytes:
        """Undo `seal`, under whichever key it was sealed. Raises UnavailableError, BrokenInvariantError."""
        name, _, rest = sealed.partition(b":")
        _, keys = self._keys()
        key = keys.get(name.decode(errors="replace"))
        if key is None:
            raise BrokenInvariantError("Sealed under a key that is gone.")
        return open_with(key, rest, context)

    def keys_for(self, purpose: str) -> list[Secret[bytes]]:
        """Keys derived for a purpose such as signing cursors, the active one first. Raises UnavailableError."""
        active, keys = self._keys()
        ordered = [keys[active], *(key for name, key in keys.items() if name != active)]
        return [_derive(key, purpose) for key in ordered]

    def _keys(self) -> tuple[str, dict[str, Secret[bytes]]]:
        value = self._secrets.get(self._name).reveal()
        active, keys = value.get("active"), value.get("keys")
        if not isinstance(active, str) or not isinstance(keys, dict) or active not in keys:
            raise BrokenInvariantError("The sealing secret has not the shape it must have.")
        return active, {name: Secret(base64.b64decode(key)) for name, key in keys.items()}


def _derive(key: Secret[bytes], purpose: str) -> Secret[bytes]:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return Secret(HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose.encode()).derive(key.reveal()))

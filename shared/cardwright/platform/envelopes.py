"""Envelope encryption of single values with the AWS Encryption SDK under keys in KMS."""

from collections.abc import Mapping, Sequence

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsKeyringInput, CreateMultiKeyringInput
from aws_cryptographic_material_providers.smithygenerated.aws_cryptography_materialproviders.errors import (
    CollectionOfErrors,
    ComAmazonawsKms,
)
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError
from aws_encryption_sdk.identifiers import Algorithm, CommitmentPolicy
from botocore.exceptions import BotoCoreError, ClientError
from cryptography.exceptions import InvalidTag

from cardwright.kernel.errors import BrokenInvariantError
from cardwright.kernel.secret import Secret
from cardwright.platform.aws import client
from cardwright.platform.keys import keys_unavailable

# Key commitment, without the ECDSA signature of the default suite: a signature is for readers who must not be able to write,
# and here whoever may read may also write. It would cost 150 octets and a key pair for each card.
_SUITE = Algorithm.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
_KMS_ERRORS = (BotoCoreError, ClientError, ComAmazonawsKms)


class EnvelopeKey:
    """Encrypts each value under a data key of its own (AES-256-GCM, key commitment), wrapped by one KMS key.

    Of several KMS keys the first encrypts and all decrypt: one is put in front, what the others wrapped is encrypted anew
    (`reencrypt`), then they go. There is no data-key cache: the context differs from value to value, so it would never hit.
    Safe to share among threads.
    """

    def __init__(self, key_arns: Sequence[str]) -> None:
        self._client = aws_encryption_sdk.EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1
        )
        self._active = key_arns[0]
        providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
        keyrings = [
            providers.create_aws_kms_keyring(input=CreateAwsKmsKeyringInput(kms_key_id=arn, kms_client=client("kms")))
            for arn in key_arns
        ]
        self._keyring = keyrings[0]
        # Never encrypts: it would wrap the data key once for each key. To decrypt it asks only the key a message names.
        self._keyrings = providers.create_multi_keyring(input=CreateMultiKeyringInput(child_keyrings=keyrings))

    @property
    def active(self) -> str:
        """ARN of the key that encrypts."""
        return self._active

    def encrypt(self, plaintext: Secret[bytes], context: Mapping[str, str]) -> bytes:
        """Return the message; `context` is authenticated and must be given again to decrypt. Raises UnavailableError."""
        try:
            message, _ = self._client.encrypt(
                source=plaintext.reveal(),
                keyring=self._keyring,
                encryption_context=_required(context),
                algorithm=_SUITE,
            )
        except _KMS_ERRORS as error:
            raise keys_unavailable() from error
        return bytes(message)

    def decrypt(self, message: bytes, context: Mapping[str, str]) -> Secret[bytes]:
        """Undo `encrypt`. Raises UnavailableError, BrokenInvariantError when message, key and context do not belong together."""
        return self._open(message, context)[0]

    def reencrypt(self, message: bytes, context: Mapping[str, str]) -> bytes | None:
        """Return the message's value encrypted under the active key; None when it is already.

        Raises as `decrypt` does: what is under the active key already is opened too, and so known to be sound.
        """
        plaintext, wrapped_by = self._open(message, context)
        return None if wrapped_by == {self._active} else self.encrypt(plaintext, context)

    def _open(self, message: bytes, context: Mapping[str, str]) -> tuple[Secret[bytes], set[str]]:
        """The value, and the ARNs of the keys that wrapped its data key."""
        wanted = _required(context)
        try:
            plaintext, header = self._client.decrypt(source=message, keyring=self._keyrings, encryption_context=wanted)
        except _KMS_ERRORS as error:
            raise keys_unavailable() from error
        except (AWSEncryptionSDKClientError, InvalidTag) as error:
            if _is_of_kms(error):
                raise keys_unavailable() from error
            raise BrokenInvariantError("An encrypted value does not open.") from error
        if dict(header.encryption_context) != wanted:
            raise BrokenInvariantError("An encrypted value belongs to another context.")
        wrapped_by = {key.key_provider.key_info.decode() for key in header.encrypted_data_keys}
        return Secret(bytes(plaintext)), wrapped_by


def _required(context: Mapping[str, str]) -> dict[str, str]:
    # The SDK decrypts without a context too: then nothing would tie a ciphertext to its row.
    if not context:
        raise BrokenInvariantError("An envelope needs an encryption context.")
    return dict(context)


def _is_of_kms(error: BaseException | None) -> bool:
    """True when KMS failed somewhere below: keyrings collect their members' errors, and those theirs."""
    if isinstance(error, CollectionOfErrors):
        return any(_is_of_kms(one) for one in error.list)
    if isinstance(error, _KMS_ERRORS):
        return True
    return isinstance(error, AWSEncryptionSDKClientError) and _is_of_kms(error.__cause__ or error.__context__)

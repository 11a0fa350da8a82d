"""Envelope encryption of single values with the AWS Encryption SDK under a KMS key."""

from collections.abc import Mapping

import aws_encryption_sdk
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import CreateAwsKmsKeyringInput
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

    There is no data-key cache: the context differs from value to value, so it would never hit. Safe to share among threads.
    """

    def __init__(self, key_arn: str) -> None:
        self._client = aws_encryption_sdk.EncryptionSDKClient(
            commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT, max_encrypted_data_keys=1
        )
        providers = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
        self._keyring = providers.create_aws_kms_keyring(
            input=CreateAwsKmsKeyringInput(kms_key_id=key_arn, kms_client=client("kms"))
        )

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
        wanted = _required(context)
        try:
            plaintext, header = self._client.decrypt(source=message, keyring=self._keyring, encryption_context=wanted)
        except _KMS_ERRORS as error:
            raise keys_unavailable() from error
        except (AWSEncryptionSDKClientError, InvalidTag) as error:
            if _is_of_kms(error):
                raise keys_unavailable() from error
            raise BrokenInvariantError("An encrypted value does not open.") from error
        if dict(header.encryption_context) != wanted:
            raise BrokenInvariantError("An encrypted value belongs to another context.")
        return Secret(bytes(plaintext))


def _required(context: Mapping[str, str]) -> dict[str, str]:
    # The SDK decrypts without a context too: then nothing would tie a ciphertext to its row.
    if not context:
        raise BrokenInvariantError("An envelope needs an encryption context.")
    return dict(context)


def _is_of_kms(error: Exception) -> bool:
    cause = error.__cause__ or error.__context__
    failures = cause.list if isinstance(cause, CollectionOfErrors) else [cause]
    return any(isinstance(failure, _KMS_ERRORS) for failure in failures)

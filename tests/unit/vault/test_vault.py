"""Laws of the vault, with KMS played by moto in this process."""

import json
from collections.abc import Iterator
from uuid import UUID

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.model import OperationModel
from moto import mock_aws

from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.aws import client, forget_clients
from cardwright.platform.envelopes import EnvelopeKey
from cardwright.platform.keys import MacKey
from cardwright.vault.service import Vault
from tests.pans import pan

ONE = UUID("01930000-0000-7000-8000-000000000001")
OTHER = UUID("01930000-0000-7000-8000-000000000002")
PAN = Secret(pan())


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """ARNs of two envelope keys and a MAC key."""
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"), ("AWS_REGION", "eu-central-1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        keys = boto3.client("kms")
        yield {
            "envelope": keys.create_key()["KeyMetadata"]["Arn"],
            "other": keys.create_key()["KeyMetadata"]["Arn"],
            "mac": keys.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"],
        }


def vault_of(kms: dict[str, str], *names: str) -> Vault:
    """A vault under the named keys."""
    return Vault(EnvelopeKey([kms[name] for name in names]), lambda: MacKey(kms["mac"]))


@pytest.fixture
def vault(kms: dict[str, str]) -> Vault:
    """A vault under one key."""
    return vault_of(kms, "envelope")


def test_a_card_number_opens_for_its_own_card_only(vault: Vault) -> None:
    sealed = vault.encrypt(ONE, PAN)
    assert vault.decrypt(ONE, sealed) == PAN
    with pytest.raises(BrokenInvariantError):
        vault.decrypt(OTHER, sealed)


def test_a_ciphertext_differs_each_time_and_holds_no_digit_of_it(vault: Vault) -> None:
    first, second = vault.encrypt(ONE, PAN), vault.encrypt(ONE, PAN)
    assert first != second
    assert b"42424242" not in first


def test_ciphertexts_commit_to_their_key_and_are_not_signed(vault: Vault) -> None:
    # AES-256-GCM with HKDF and key commitment is suite 0x0478 of message format version 2.
    assert vault.encrypt(ONE, PAN)[:3] == bytes.fromhex("020478")


@pytest.mark.parametrize("position", [0, 3, 60, -20, -1])
def test_a_changed_ciphertext_does_not_open(vault: Vault, position: int) -> None:
    sealed = bytearray(vault.encrypt(ONE, PAN))
    sealed[position] ^= 1
    with pytest.raises(BrokenInvariantError):
        vault.decrypt(ONE, bytes(sealed))


def test_another_key_does_not_open_it(vault: Vault, kms: dict[str, str]) -> None:
    with pytest.raises(BrokenInvariantError):
        vault_of(kms, "other").decrypt(ONE, vault.encrypt(ONE, PAN))


def test_an_envelope_without_context_is_refused(kms: dict[str, str]) -> None:
    envelope = EnvelopeKey([kms["envelope"]])
    with pytest.raises(BrokenInvariantError):
        envelope.encrypt(Secret(b"value"), {})
    sealed = envelope.encrypt(Secret(b"value"), {"card_id": "1", "purpose": "test"})
    with pytest.raises(BrokenInvariantError):
        envelope.decrypt(sealed, {"card_id": "1"})


def test_fingerprints_are_equal_for_equal_numbers_only(vault: Vault) -> None:
    assert vault.fingerprint(PAN) == vault.fingerprint(Secret(pan()))
    assert vault.fingerprint(PAN) != vault.fingerprint(Secret(pan("400005")))
    assert len(vault.fingerprint(PAN)) == 32


def test_without_kms_nothing_is_sealed_or_opened(vault: Vault, kms: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = vault.encrypt(ONE, PAN)
    gone = kms["envelope"][:-36] + "00000000-0000-4000-8000-000000000000"
    without = Vault(EnvelopeKey([gone]), lambda: MacKey(gone))
    with pytest.raises(UnavailableError) as failure:
        without.encrypt(ONE, PAN)
    assert failure.value.code == "keys_unavailable"
    with pytest.raises(UnavailableError) as failure:
        without.fingerprint(PAN)
    assert failure.value.code == "keys_unavailable"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_clients()
    with pytest.raises(UnavailableError):
        vault_of(kms, "envelope").decrypt(ONE, sealed)
    for names in (("other", "envelope"), ("envelope", "other")):
        with pytest.raises(UnavailableError):
            vault_of(kms, *names).reencrypt(ONE, sealed)


def test_of_several_keys_the_first_encrypts_and_all_decrypt(vault: Vault, kms: dict[str, str]) -> None:
    both = vault_of(kms, "other", "envelope")
    assert (vault.key_name, both.key_name) == (kms["envelope"], kms["other"])
    assert both.decrypt(ONE, vault.encrypt(ONE, PAN)) == PAN
    sealed = both.encrypt(ONE, PAN)
    assert vault_of(kms, "other").decrypt(ONE, sealed) == PAN
    with pytest.raises(BrokenInvariantError):
        vault.decrypt(ONE, sealed)


def test_a_number_encrypted_anew_needs_the_new_key_alone(vault: Vault, kms: dict[str, str]) -> None:
    old = vault.encrypt(ONE, PAN)
    both = vault_of(kms, "other", "envelope")
    new = both.reencrypt(ONE, old)
    assert new is not None
    assert new[:3] == old[:3] == bytes.fromhex("020478")
    assert vault_of(kms, "other").decrypt(ONE, new) == PAN
    assert both.reencrypt(ONE, new) is None


def test_what_is_not_this_cards_number_is_not_encrypted_anew(vault: Vault, kms: dict[str, str]) -> None:
    sealed, both = vault.encrypt(ONE, PAN), vault_of(kms, "other", "envelope")
    for card_id, ciphertext in ((OTHER, sealed), (ONE, sealed[:-1]), (ONE, b""), (ONE, b"x" * 100)):
        with pytest.raises(BrokenInvariantError):
            both.reencrypt(card_id, ciphertext)
    with pytest.raises(BrokenInvariantError):
        vault_of(kms, "other").reencrypt(ONE, sealed)


def test_a_number_is_encrypted_with_one_grant_on_the_first_key(vault: Vault, kms: dict[str, str]) -> None:
    asked: list[tuple[str, str]] = []
    sealed = vault.encrypt(ONE, PAN)

    def note(model: OperationModel, params: dict[str, bytes], **_: object) -> None:
        asked.append((model.name, json.loads(params["body"])["KeyId"]))

    client("kms").meta.events.register("before-call.kms", note)
    both = vault_of(kms, "other", "envelope")
    both.encrypt(ONE, PAN)
    assert asked == [("GenerateDataKey", kms["other"])]
    asked.clear()
    both.reencrypt(ONE, sealed)
    assert asked == [("Decrypt", kms["envelope"]), ("GenerateDataKey", kms["other"])]


def test_who_may_not_decrypt_makes_cards_and_reads_none(vault: Vault) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "Decrypt")

    client("kms").meta.events.register("before-call.kms.Decrypt", refuse)
    sealed = vault.encrypt(ONE, PAN)
    assert len(vault.fingerprint(PAN)) == 32
    with pytest.raises(UnavailableError) as refused:
        vault.decrypt(ONE, sealed)
    assert refused.value.code == "keys_unavailable"


def test_a_key_for_fingerprints_is_not_asked_for_to_encrypt(kms: dict[str, str]) -> None:
    def none() -> MacKey:
        raise AssertionError("asked for")

    without = Vault(EnvelopeKey([kms["envelope"]]), none)
    assert without.decrypt(ONE, without.encrypt(ONE, PAN)) == PAN
    with pytest.raises(AssertionError, match="asked for"):
        without.fingerprint(PAN)

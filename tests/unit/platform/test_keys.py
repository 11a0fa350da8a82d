"""Keys in an emulated KMS, and sealing with a secret of ours."""

import base64
import os
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from cardwright.kernel.errors import BrokenInvariantError, UnavailableError
from cardwright.kernel.secret import Secret
from cardwright.platform.keys import DataKeys, MacKey, Sealer, SigningKeys, open_with, seal_with
from cardwright.platform.secrets import ExtensionStore
from tests.fakes.secrets_extension import serving_secrets

KEY = Secret(b"k" * 32)


@pytest.fixture
def kms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An emulated KMS in this process."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        yield


def make(spec: str, usage: str) -> str:
    """Make a key and return its ARN."""
    client: Any = boto3.client("kms")
    return str(client.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"])


def test_the_first_key_signs_and_every_key_is_published(kms: None) -> None:
    arns = [make("RSA_2048", "SIGN_VERIFY") for _ in range(2)]
    keys = SigningKeys(arns)
    signature = keys.sign(b"message")
    public = {arn: load_der_public_key(der) for arn, der in keys.public_keys().items()}
    assert list(public) == arns
    first, second = public[arns[0]], public[arns[1]]
    assert isinstance(first, RSAPublicKey)
    assert isinstance(second, RSAPublicKey)
    first.verify(signature, b"message", PKCS1v15(), SHA256())
    with pytest.raises(InvalidSignature):
        second.verify(signature, b"message", PKCS1v15(), SHA256())


def test_a_mac_depends_on_purpose_and_value_and_is_the_same_again(kms: None) -> None:
    key = MacKey(make("HMAC_256", "GENERATE_VERIFY_MAC"))
    macs = [key.mac(purpose, Secret(value)) for purpose, value in (("a", b"x"), ("a", b"y"), ("b", b"x"))]
    assert len(set(macs)) == 3
    assert {len(mac) for mac in macs} == {32}
    assert key.mac("a", Secret(b"x")) == macs[0]


def test_a_data_key_opens_only_in_its_context(kms: None) -> None:
    keys = DataKeys(make("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"))
    key, wrapped = keys.generate({"user_id": "1"})
    assert len(key.reveal()) == 32
    assert key.reveal() not in wrapped
    assert keys.unwrap(wrapped, {"user_id": "1"}) == key
    for blob, context in ((wrapped, {"user_id": "2"}), (wrapped[:-1] + b"x", {"user_id": "1"}), (b"noise", {"user_id": "1"})):
        with pytest.raises(BrokenInvariantError):
            keys.unwrap(blob, context)


@pytest.mark.parametrize(
    "failure", [EndpointConnectionError(endpoint_url="https://kms"), ClientError({"Error": {"Code": "ThrottlingException"}}, "x")]
)
def test_a_key_service_that_does_not_answer_is_unavailable(
    kms: None, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    signing, mac, data = SigningKeys(["arn:s"]), MacKey("arn:m"), DataKeys("arn:d")

    def fail(self: object, operation_name: str, api_params: object) -> None:
        raise failure

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", fail)
    for call in (
        lambda: signing.sign(b""),
        signing.public_keys,
        lambda: mac.mac("a", Secret(b"")),
        lambda: data.generate({}),
        lambda: data.unwrap(b"", {}),
    ):
        with pytest.raises(UnavailableError) as gone:
            call()
        assert gone.value.code == "keys_unavailable"


@given(st.binary(max_size=200), st.text(max_size=50), st.integers(0, 10**6), st.integers(1, 255))
def test_sealed_bytes_open_with_key_and_context_and_no_bit_may_change(plain: bytes, context: str, place: int, flip: int) -> None:
    sealed = seal_with(KEY, plain, context)
    assert open_with(KEY, sealed, context) == plain
    assert seal_with(KEY, plain, context) != sealed
    place %= len(sealed)
    bent = sealed[:place] + bytes([sealed[place] ^ flip]) + sealed[place + 1 :]
    for key, blob, said in (
        (KEY, bent, context),
        (Secret(b"o" * 32), sealed, context),
        (KEY, sealed, context + "x"),
        (KEY, sealed[:5], context),
    ):
        with pytest.raises(BrokenInvariantError):
            open_with(key, blob, said)


def secret(active: str, *names: str) -> dict[str, object]:
    """A sealing secret with keys of these names, each made from its name."""
    return {"active": active, "keys": {name: base64.b64encode(name.encode().ljust(32)).decode() for name in names}}


def test_what_was_sealed_under_an_older_key_opens_until_that_key_is_gone() -> None:
    with serving_secrets({"sealing": secret("k1", "k1")}) as extension:
        sealed = Sealer(ExtensionStore(extension.port, "t"), "sealing").seal(b"plain", "here")
        assert sealed.startswith(b"k1:")
        assert b"plain" not in sealed
        extension.secrets["sealing"] = secret("k2", "k1", "k2")
        rotated = Sealer(ExtensionStore(extension.port, "t"), "sealing")
        assert rotated.open(sealed, "here") == b"plain"
        assert rotated.seal(b"plain", "here").startswith(b"k2:")
        extension.secrets["sealing"] = secret("k2", "k2")
        with pytest.raises(BrokenInvariantError, match="gone"):
            Sealer(ExtensionStore(extension.port, "t"), "sealing").open(sealed, "here")


def test_derived_keys_differ_by_purpose_and_the_active_one_is_first() -> None:
    with serving_secrets({"sealing": secret("k2", "k1", "k2"), "other": secret("k1", "k1")}) as extension:
        store = ExtensionStore(extension.port, "t")
        cursor, session = Sealer(store, "sealing").keys_for("cursor"), Sealer(store, "sealing").keys_for("session")
        assert len({key.reveal() for key in (*cursor, *session)}) == 4
        assert Sealer(store, "other").keys_for("cursor") == [cursor[1]]


@pytest.mark.parametrize(
    "value", [{}, {"active": "k1"}, {"active": "k1", "keys": {}}, {"active": 1, "keys": {"k1": "x"}}, {"keys": []}]
)
def test_a_sealing_secret_of_another_shape_is_loud(value: dict[str, object]) -> None:
    with serving_secrets({"sealing": value}) as extension, pytest.raises(BrokenInvariantError, match="shape"):
        Sealer(ExtensionStore(extension.port, "t"), "sealing").seal(os.urandom(3), "here")

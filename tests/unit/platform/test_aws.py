"""One client per service, whichever thread asks first."""

import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from moto import mock_aws

from cardwright.platform.aws import client, forget_clients
from cardwright.platform.keys import DataKeys, MacKey, SigningKeys
from cardwright.platform.queue import QueueSender

THREADS = 32


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region, and no other endpoint."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


def test_thirty_two_threads_make_one_client_and_never_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    making, most, made = 0, 0, []
    real = boto3.Session.client

    def watched(self: boto3.Session, *args: str, **options: object) -> object:
        nonlocal making, most
        making += 1
        most = max(most, making)
        made.append(args[0])
        try:
            return real(self, *args, **options)  # type: ignore[call-overload]  # passed on as it came
        finally:
            making -= 1

    monkeypatch.setattr(boto3.Session, "client", watched)
    gate = threading.Barrier(THREADS)

    def ask(number: int) -> int:
        gate.wait()
        return id(client("kms") if number % 2 else client("sqs"))

    with ThreadPoolExecutor(THREADS) as pool:
        seen = set(pool.map(ask, range(THREADS)))
    assert (sorted(made), most, len(seen)) == (["kms", "sqs"], 1, 2)


def test_many_threads_build_and_use_what_stands_on_the_clients() -> None:
    with mock_aws():
        kms = boto3.client("kms")
        signing = kms.create_key(KeySpec="RSA_2048", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
        mac = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
        url = boto3.client("sqs").create_queue(QueueName="events")["QueueUrl"]
        gate = threading.Barrier(THREADS)

        def build(_: int) -> tuple[bool, list[bool]]:
            gate.wait()
            keys = SigningKeys([signing])
            MacKey(mac)
            DataKeys(mac)
            return signing in keys.public_keys(), QueueSender(url).send_batch(["event"])

        with ThreadPoolExecutor(THREADS) as pool:
            assert list(pool.map(build, range(THREADS))) == [(True, [True])] * THREADS


def test_no_client_is_made_from_the_session_everybody_shares() -> None:
    boto3.DEFAULT_SESSION = None
    client("kms")
    assert boto3.DEFAULT_SESSION is None


def test_a_forgotten_client_is_made_anew() -> None:
    before = client("kms")
    assert client("kms") is before
    forget_clients()
    assert client("kms") is not before

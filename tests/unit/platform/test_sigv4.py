"""The small presigner against botocore's own: the same address, parameters and signature."""

from datetime import UTC, datetime
from unittest import mock

import botocore.auth
import botocore.session
import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as BotoCredentials
from botocore.model import ServiceId
from botocore.signers import RequestSigner

from cardwright.platform.sigv4 import Credentials, elasticache_token, rds_token

NOW = datetime(2026, 11, 21, 9, 8, 7, tzinfo=UTC)
KEYS = [
    Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI+bPxRfiCYEXAMPLE/KEY", None),
    Credentials("ASIDEXAMPLE", "a/b+c=d", "IQoJb3JpZ2luX2VjE//+token=="),
]


def parts(token: str) -> tuple[str, list[str]]:
    """Address and parameters; their order on the wire does not count, as the signature is over the sorted ones."""
    address, _, query = token.removeprefix("https://").partition("?")
    return address, sorted(query.split("&"))


@pytest.fixture(autouse=True)
def standing_clock() -> object:
    """botocore asks the machine for the time: let it hear ours."""
    with mock.patch("botocore.auth.get_current_datetime", return_value=NOW.replace(tzinfo=None)):
        yield


@pytest.mark.parametrize("keys", KEYS, ids=["long-lived", "session"])
@pytest.mark.parametrize("user", ["app", "a user/with+odd=characters"])
def test_the_database_token_is_the_one_botocore_makes(keys: Credentials, user: str) -> None:
    session = botocore.session.get_session()
    boto = BotoCredentials(keys.access_key, keys.secret_key, keys.session_token)
    signer = RequestSigner(ServiceId("rds-db"), "eu-west-1", "rds-db", "v4", boto, session.get_component("event_emitter"))
    request = {
        "url_path": "/",
        "query_string": "",
        "headers": {},
        "body": {"Action": "connect", "DBUser": user},
        "url": "https://proxy.example.com:5432/",
        "method": "GET",
        "context": {},
    }
    url = signer.generate_presigned_url(request, operation_name="connect", expires_in=900, signing_name="rds-db")
    assert parts(rds_token(keys, "eu-west-1", "proxy.example.com", 5432, user, NOW)) == parts(url)


@pytest.mark.parametrize("keys", KEYS, ids=["long-lived", "session"])
def test_the_cache_token_is_the_one_botocore_makes(keys: Credentials) -> None:
    boto = BotoCredentials(keys.access_key, keys.secret_key, keys.session_token)
    query = {"Action": "connect", "User": "app", "ResourceType": "ServerlessCache"}
    request = AWSRequest("GET", "https://cards-cache/", params=query)
    botocore.auth.SigV4QueryAuth(boto, "elasticache", "eu-west-1", expires=900).add_auth(request)
    ours = elasticache_token(keys, "eu-west-1", "cards-cache", "app", NOW)
    assert parts(ours) == parts(str(request.url))


def test_keys_do_not_show_themselves() -> None:
    assert "wJalr" not in repr(KEYS[0])
    assert "IQoJ" not in repr(KEYS[1])
    assert KEYS[0].access_key in repr(KEYS[0])

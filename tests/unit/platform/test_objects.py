"""The object store: uploads of parts, pieces of objects, links."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.stub import Stubber

from cardwright.kernel.errors import UnavailableError
from cardwright.platform.aws import client, forget_clients
from cardwright.platform.objects import PART_MIN_BYTES, ObjectStore
from tests.fakes.export_world import BUCKET, emulated

KEY = "transactions/1.csv"


@pytest.fixture(autouse=True)
def region(monkeypatch: pytest.MonkeyPatch) -> None:
    """A region, keys that open nothing, and no other endpoint."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-key")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def store() -> Iterator[ObjectStore]:
    """A bucket."""
    with emulated() as store:
        yield store


def test_an_object_is_its_parts_in_their_order(store: ObjectStore) -> None:
    upload = store.begin_upload(KEY, "text/csv; charset=utf-8")
    second = store.put_part(KEY, upload, 2, b"tail")
    first = store.put_part(KEY, upload, 1, b"a" * 2_500_000)
    assert first is not None
    assert second is not None
    assert store.size(KEY) is None, "nothing is there before the upload is complete"
    assert store.complete(KEY, upload, [first, second])
    assert store.size(KEY) == 2_500_004
    pieces = list(store.read(KEY))
    assert b"".join(pieces) == b"a" * 2_500_000 + b"tail"
    assert max(map(len, pieces)) <= 1024 * 1024 < PART_MIN_BYTES
    assert client("s3").head_object(Bucket=BUCKET, Key=KEY)["ContentType"] == "text/csv; charset=utf-8"


def test_a_part_put_again_takes_the_place_of_the_first(store: ObjectStore) -> None:
    upload = store.begin_upload(KEY, "text/csv")
    stale, fresh = (store.put_part(KEY, upload, 1, body) for body in (b"stale", b"fresh"))
    assert stale is not None
    assert fresh is not None
    assert stale.etag != fresh.etag
    assert store.complete(KEY, upload, [fresh])
    assert b"".join(store.read(KEY)) == b"fresh"


def test_completing_twice_finds_the_object_made(store: ObjectStore) -> None:
    upload = store.begin_upload(KEY, "text/csv")
    part = store.put_part(KEY, upload, 1, b"all")
    assert part is not None
    assert [store.complete(KEY, upload, [part]), store.complete(KEY, upload, [part])] == [True, True]


@pytest.mark.parametrize("code", ["NoSuchUpload", "InvalidPart"])
def test_a_lost_upload_is_told_and_not_raised(code: str) -> None:
    forget_clients()
    store = ObjectStore(BUCKET)
    with Stubber(client("s3")) as stub:
        stub.add_client_error("upload_part", code, http_status_code=404)
        assert store.put_part(KEY, "upload", 1, b"x") is None
        stub.add_client_error("complete_multipart_upload", code, http_status_code=404)
        stub.add_client_error("head_object", "403", http_status_code=403)
        assert not store.complete(KEY, "upload", [])
        stub.add_client_error("abort_multipart_upload", code, http_status_code=404)
        store.abort(KEY, "upload")
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["SlowDown", "InternalError", "AccessDenied", "NoSuchBucket"])
def test_any_other_refusal_is_an_outage(code: str) -> None:
    forget_clients()
    store = ObjectStore(BUCKET)
    with Stubber(client("s3")) as stub:
        stub.add_client_error("upload_part", code, http_status_code=403)
        with pytest.raises(UnavailableError) as raised:
            store.put_part(KEY, "upload", 1, b"x")
    assert raised.value.code == "objects_unavailable"


def test_an_aborted_upload_leaves_nothing(store: ObjectStore) -> None:
    upload = store.begin_upload(KEY, "text/csv")
    store.put_part(KEY, upload, 1, b"x")
    store.abort(KEY, upload)
    assert "Uploads" not in client("s3").list_multipart_uploads(Bucket=BUCKET)


def test_without_an_answer_the_store_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing listens on the discard port of this machine.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    forget_clients()
    with pytest.raises(UnavailableError) as raised:
        ObjectStore(BUCKET).begin_upload(KEY, "text/csv")
    assert raised.value.code == "objects_unavailable"


@pytest.mark.parametrize(
    ("region", "endpoint", "begins"),
    [
        ("us-east-1", None, f"https://{BUCKET}.s3.us-east-1.amazonaws.com/{KEY}?"),
        ("eu-west-1", None, f"https://{BUCKET}.s3.eu-west-1.amazonaws.com/{KEY}?"),
        ("us-east-1", "http://127.0.0.1:4566", f"http://127.0.0.1:4566/{BUCKET}/{KEY}?"),
    ],
)
def test_a_link_leads_to_the_regions_own_host_and_locally_to_the_emulators_path(
    region: str, endpoint: str | None, begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    if endpoint is not None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    forget_clients()
    url = ObjectStore(BUCKET).link(KEY, "mine.csv", timedelta(minutes=15))
    said = parse_qs(urlsplit(url).query)
    assert url.startswith(begins)
    assert (said["X-Amz-Expires"], said["X-Amz-Algorithm"]) == (["900"], ["AWS4-HMAC-SHA256"])
    assert said["response-content-disposition"] == ['attachment; filename="mine.csv"']

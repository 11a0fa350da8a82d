"""The object store against the stack's emulator: what a worker meets on a laptop, and the link that its owner follows."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from cardwright.platform.aws import forget_clients
from cardwright.platform.objects import PART_MIN_BYTES, ObjectStore
from local.environment import aws_environment
from local.seed.cloud import seed_cloud
from tests.local.programs import Running, program

KEY = "transactions/1.csv"


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A seeded emulator, and the environment of the stack's programs."""
    with program("local.aws", "--data", str(tmp_path)) as running:
        for name, value in aws_environment(running.port).items():
            monkeypatch.setenv(name, value)
        forget_clients()
        yield running


@pytest.fixture
def store(emulator: Running) -> ObjectStore:
    """The bucket of exports."""
    buckets = seed_cloud(emulator.url, [], {}).buckets
    assert seed_cloud(emulator.url, [], {}).buckets == buckets
    return ObjectStore(buckets["exports"])


def test_a_file_of_parts_is_downloaded_by_its_link_also_after_a_kill(store: ObjectStore, emulator: Running) -> None:
    upload = store.begin_upload(KEY, "text/csv; charset=utf-8")
    bodies = [b"a" * PART_MIN_BYTES, b"tail"]
    parts = [store.put_part(KEY, upload, number, body) for number, body in enumerate(bodies, 1)]
    assert store.complete(KEY, upload, [part for part in parts if part is not None])
    url = store.link(KEY, "mine.csv", timedelta(minutes=15))
    assert url.startswith(emulator.url)
    for _ in range(2):
        answer = httpx.get(url, trust_env=False, timeout=20)
        assert (answer.status_code, answer.content) == (200, b"".join(bodies))
        assert answer.headers["content-disposition"] == 'attachment; filename="mine.csv"'
        assert answer.headers["content-type"].replace(" ", "") == "text/csv;charset=utf-8"
        emulator.kill_and_restart()
        forget_clients()


def test_an_upload_that_a_kill_of_the_emulator_took_is_lost_and_begins_anew(store: ObjectStore, emulator: Running) -> None:
    upload = store.begin_upload(KEY, "text/csv")
    part = store.put_part(KEY, upload, 1, b"all")
    assert part is not None
    emulator.kill_and_restart()
    assert store.put_part(KEY, upload, 2, b"more") is None
    assert not store.complete(KEY, upload, [part])
    store.abort(KEY, upload)
    again = store.begin_upload(KEY, "text/csv")
    assert store.put_part(KEY, again, 1, b"all") == part
    assert store.complete(KEY, again, [part])
    assert store.size(KEY) == 3

"""Exports: a file at once or a job, and a job that survives whatever ends its runs."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest

from cardwright.cards.rules import Card
from cardwright.kernel.errors import ConflictError, GoneError, NotFoundError, UnavailableError
from cardwright.platform.aws import client
from cardwright.platform.objects import Part
from cardwright.platform.postgres import Actor
from cardwright.transactions.rules import exports as rules
from cardwright.transactions.rules.exports import ExportStatus
from cardwright.transactions.rules.history import HistoryFilters, TransactionStatus
from cardwright.transactions.service.export_runs import RESERVE_S
from cardwright.transactions.store import searching
from tests.fakes.card_world import NOW
from tests.fakes.export_world import BUCKET, PART_BYTES, Deadline, ExportWorld, Killed, emulated, rows

# Some 200 bytes a row, so two pages are a part.
MANY = 2_345


@pytest.fixture
def world(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExportWorld]:
    """A world in whose database nobody else has jobs, and where an answer holds 50 kB and a page 100 rows."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.setattr(rules, "INLINE_MAX_BYTES", 50_000)
    monkeypatch.setattr(rules, "PAGE", 100)
    with emulated():
        world = ExportWorld(fresh_database)
        yield world
        world.close()


@pytest.fixture
def holder(world: ExportWorld) -> Actor:
    """A cardholder."""
    return world.add_user()


@pytest.fixture
def card(world: ExportWorld, holder: Actor) -> Card:
    """A card that was used more often than one answer tells."""
    return world.used_card(holder, MANY)


def uploads() -> list[str]:
    """Uploads that were begun and neither completed nor aborted."""
    return [found["UploadId"] for found in client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])]


def whole(world: ExportWorld, card: Card) -> str:
    """What the file of a card must be, read past every part of an export."""
    ids = world.sql("SELECT transaction_id FROM card_transactions WHERE card_id = %s ORDER BY transaction_id DESC", card.card_id)
    return "".join(str(row["transaction_id"]) for row in ids)


def ids_in(text: str) -> str:
    """The ids of a file's rows, in their order."""
    return "".join(row["id"] for row in rows(text))


def test_a_card_that_was_never_used_gives_the_header_alone(world: ExportWorld, holder: Actor) -> None:
    assert world.inline(holder, world.issue(holder)) == rules.header()


def test_a_short_history_is_an_answer_newest_first_and_declines_are_in_it(world: ExportWorld, holder: Actor) -> None:
    card = world.issue(holder)
    world.pay(card, "10.00")
    world.later(seconds=1)
    world.pay(card, "9999.00")
    text = world.inline(holder, card)
    declined, approved = rows(text)
    assert text.startswith(rules.header())
    assert (declined["status"], declined["reason"], declined["amount"]) == (
        "DECLINED",
        "per_transaction_limit_exceeded",
        "9999.00",
    )
    assert (approved["status"], approved["amount"], approved["held_amount"]) == ("AUTHORIZED", "10.00", "10.00")
    assert (approved["merchant_name"], approved["merchant_city"], approved["merchant_category"]) == (
        "Corner Shop",
        "Lyon",
        "5411",
    )
    assert (approved["created_at"], declined["created_at"]) == ("2026-11-21T12:00:00.000Z", "2026-11-21T12:00:01.000Z")


def test_filters_choose_the_rows(world: ExportWorld, holder: Actor, card: Card) -> None:
    filters = HistoryFilters(
        since=NOW - timedelta(seconds=2), until=NOW, min_amount=Decimal("21.50"), status=TransactionStatus.AUTHORIZED
    )
    found = rows(world.inline(holder, card, filters))
    assert len(found) == 195
    assert {row["amount"] for row in found} == {f"{cents / 100:.2f}" for cents in range(2150, 2345)}


def test_a_long_history_is_a_job_whose_file_is_whole(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    assert (job.status, job.total, job.done) == (ExportStatus.QUEUED, MANY, 0)
    assert (world.run(), world.objects.read_back) == (1, 0)
    done = world.job(holder, card, job)
    file = world.file(job)
    assert (done.status, done.done, done.total, done.size) == (ExportStatus.DONE, MANY, MANY, len(file))
    assert done.sha256 == hashlib.sha256(file).digest()
    assert ids_in(file.decode()) == whole(world, card)
    assert len(world.objects.put) > 4
    assert uploads() == []


def test_what_is_held_in_memory_is_a_part_and_no_more_however_long_the_file(world: ExportWorld, holder: Actor) -> None:
    card = world.used_card(holder, 5_000)
    job = world.ask(holder, card)
    world.run()
    file = world.file(job)
    assert ids_in(file.decode()) == whole(world, card)
    assert len(file) > 15 * PART_BYTES
    # A part ends with the page that fills it.
    assert world.objects.largest < 2 * PART_BYTES


def test_words_are_searched_for_by_the_worker_too(world: ExportWorld, holder: Actor, card: Card) -> None:
    keys = world.sql("SELECT card_id, transaction_id FROM card_transactions WHERE card_id = %s", card.card_id)
    with world.worker.transaction(Actor(None, "system")) as tx:
        searching.keep_words(tx, [(row["card_id"], row["transaction_id"]) for row in keys])
    job = world.ask(holder, card, HistoryFilters(text="corner lyon -499"))
    assert job.total == MANY, "words are not counted ahead"
    world.run()
    found = rows(world.file(job).decode())
    assert len(found) == MANY - 4
    assert "Corner Shop 499" not in {row["merchant_name"] for row in found}
    assert world.job(holder, card, job).total == MANY - 4


def test_rows_that_come_while_a_job_waits_are_left_out(world: ExportWorld, holder: Actor, card: Card) -> None:
    job, before = world.ask(holder, card), whole(world, card)
    world.later(milliseconds=1)
    world.pay(card, "1.00")
    assert whole(world, card) != before
    world.run()
    assert ids_in(world.file(job).decode()) == before


def test_asking_again_while_a_job_is_open_tells_of_the_same_one(world: ExportWorld, holder: Actor, card: Card) -> None:
    first = world.ask(holder, card)
    other = world.ask(holder, card, HistoryFilters(min_amount=Decimal("0.01")))
    assert world.ask(holder, card).job_id == first.job_id != other.job_id
    world.run()
    assert world.ask(holder, card).job_id not in {first.job_id, other.job_id}


def test_two_who_ask_at_once_get_one_job(world: ExportWorld, holder: Actor, card: Card) -> None:
    outcomes = world.at_once(*[lambda: world.ask(holder, card)] * 8)
    assert outcomes == {"done": 8}
    assert len(world.rows("transaction_exports", card.card_id)) == 1


def test_the_sixth_open_job_of_a_user_is_refused_also_at_once(world: ExportWorld, holder: Actor, card: Card) -> None:
    wishes = [HistoryFilters(min_amount=Decimal(cents) / 100) for cents in range(1, 9)]
    outcomes = world.at_once(*[partial(world.ask, holder, card, wish) for wish in wishes])
    assert outcomes == {"done": rules.OPEN_MAX, "too_many_exports": 3}
    world.run()
    assert world.ask(holder, card, wishes[0]).status is ExportStatus.QUEUED


def test_others_find_neither_the_card_nor_the_job_and_staff_finds_both(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    stranger, support = world.add_user(), world.add_user("support")
    assert world.at_once(lambda: world.ask(stranger, card), lambda: world.job(stranger, card, job)) == {"card_not_found": 2}
    own = world.issue(stranger)
    for actor, asked in ((stranger, own), (holder, world.issue(holder))):
        with pytest.raises(NotFoundError) as refused:
            world.job(actor, asked, job)
        assert refused.value.code == "transaction_export_not_found"
    assert world.job(support, card, job).job_id == job.job_id


def test_a_job_of_staff_is_not_the_owners(world: ExportWorld, holder: Actor, card: Card) -> None:
    support = world.add_user("support")
    job = world.ask(support, card)
    world.run()
    assert world.job(support, card, job).status is ExportStatus.DONE
    with pytest.raises(NotFoundError):
        world.job(holder, card, job)


@pytest.mark.parametrize("after_parts", [0, 1, 3])
def test_a_killed_run_is_taken_on_where_it_was(world: ExportWorld, holder: Actor, card: Card, after_parts: int) -> None:
    job = world.ask(holder, card)
    world.objects.faults = [None] * after_parts + [Killed()]
    with pytest.raises(Killed):
        world.run()
    assert world.job(holder, card, job).status is ExportStatus.RUNNING
    assert world.run() == 0, "the dead worker's lease is still on"
    world.later(minutes=2)
    assert world.run() == 1
    assert world.objects.read_back == (1 if after_parts else 0), "the digest is of what several runs wrote"
    file, done = world.file(job), world.job(holder, card, job)
    assert world.objects.put == list(range(1, len(world.objects.put) + 1)), "no part was written twice"
    assert ids_in(file.decode()) == whole(world, card)
    assert (done.sha256, done.size, done.done) == (hashlib.sha256(file).digest(), len(file), MANY)


def test_a_run_killed_after_the_file_was_made_finds_it_made(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    complete = world.objects.complete
    with pytest.MonkeyPatch.context() as patch:

        def die(key: str, upload_id: str, parts: Sequence[Part]) -> bool:
            complete(key, upload_id, parts)
            raise Killed

        patch.setattr(world.objects, "complete", die)
        with pytest.raises(Killed):
            world.run()
    world.later(minutes=2)
    put = list(world.objects.put)
    assert (world.run(), world.objects.put) == (1, put)
    assert world.job(holder, card, job).sha256 == hashlib.sha256(world.file(job)).digest()


def test_a_run_whose_time_is_over_hands_on_and_that_is_no_try(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    runs = 0
    while world.job(holder, card, job).status is not ExportStatus.DONE:
        # One part, then the time is over.
        world.run(Deadline(left=RESERVE_S + 2.5, each=1.0))
        runs += 1
    assert runs > rules.TRIES
    assert ids_in(world.file(job).decode()) == whole(world, card)


def test_a_lost_upload_begins_anew(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    world.run(Deadline(left=RESERVE_S + 2.5, each=1.0))
    world.objects.lost_parts = 1
    assert world.run() == 0
    assert world.job(holder, card, job).done == 0
    world.later(seconds=10)
    assert world.run() == 1
    assert ids_in(world.file(job).decode()) == whole(world, card)


def test_a_worker_that_was_thought_dead_writes_nothing_more(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    put_part = world.objects.put_part
    with pytest.MonkeyPatch.context() as patch:

        def sleep_long(key: str, upload_id: str, number: int, body: bytes) -> object:
            part = put_part(key, upload_id, number, body)
            patch.undo()
            world.later(minutes=3)
            assert world.run() == 1, "somebody else takes the job and ends it"
            return part

        patch.setattr(world.objects, "put_part", sleep_long)
        assert world.run() == 0
    assert world.job(holder, card, job).sha256 == hashlib.sha256(world.file(job)).digest()
    assert ids_in(world.file(job).decode()) == whole(world, card)


def test_a_job_that_fails_five_times_has_failed_and_leaves_nothing(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    gone = UnavailableError("The object store does not answer.", code="objects_unavailable")
    world.objects.faults = [None, *[gone] * rules.TRIES]
    for _ in range(rules.TRIES - 1):
        assert world.run() == 0
        assert world.run() == 0, "it is not tried again at once"
        assert world.job(holder, card, job).status is ExportStatus.QUEUED
        world.later(minutes=10)
    assert world.run() == 1
    failed = world.job(holder, card, job)
    assert (failed.status, failed.failure) == (ExportStatus.FAILED, "objects_unavailable")
    assert uploads() == []
    assert world.ask(holder, card).job_id != job.job_id


def test_a_job_whose_runs_are_all_killed_has_failed(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    for _ in range(rules.TRIES):
        world.objects.faults = [Killed()]
        with pytest.raises(Killed):
            world.run()
        world.later(minutes=2)
    world.run()
    failed = world.job(holder, card, job)
    assert (failed.status, failed.failure) == (ExportStatus.FAILED, "export_interrupted")
    assert uploads() == []


def test_an_unexpected_error_tells_nothing_of_itself(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    for _ in range(rules.TRIES):
        world.objects.faults = [ZeroDivisionError("inside")]
        world.run()
        world.later(minutes=10)
    assert world.job(holder, card, job).failure == "internal_error"


def test_one_user_has_one_job_running_and_others_go_on(world: ExportWorld, holder: Actor, card: Card) -> None:
    other = world.add_user()
    theirs = world.used_card(other, MANY)
    first, second = world.ask(holder, card), world.ask(holder, card, HistoryFilters(min_amount=Decimal("0.01")))
    world.later(seconds=1)
    third = world.ask(other, theirs)
    world.objects.faults = [Killed()]
    with pytest.raises(Killed):
        world.run()
    assert world.run() == 1
    statuses = [world.job(holder, card, job).status for job in (first, second)]
    assert sorted(statuses) == [ExportStatus.QUEUED, ExportStatus.RUNNING]
    assert world.job(other, theirs, third).status is ExportStatus.DONE


def test_a_long_job_makes_room_for_another_users(world: ExportWorld, holder: Actor, card: Card) -> None:
    other = world.add_user()
    theirs = world.used_card(other, MANY)
    world.ask(holder, card)
    world.ask(other, theirs)
    world.later(seconds=1)
    world.run(Deadline(left=1000.0, each=20.0), part_bytes=1)
    turns = world.objects.put
    assert turns[:2] == [1, 1], "after its turn the first gave way"


def test_eight_workers_at_once_write_each_job_once(world: ExportWorld, holder: Actor, card: Card) -> None:
    cards = [(actor, world.used_card(actor, MANY)) for actor in (world.add_user(), world.add_user())]
    jobs = [(actor, asked, world.ask(actor, asked)) for actor, asked in [(holder, card), *cards]]
    world.at_once(*[world.run] * 4)
    for actor, asked, job in jobs:
        done = world.job(actor, asked, job)
        assert (done.status, done.sha256) == (ExportStatus.DONE, hashlib.sha256(world.file(job)).digest())


def test_a_link_is_fresh_each_time_and_gone_with_its_file(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)
    assert world.exports.get(holder, card.card_id, job.job_id)[1] is None
    world.run()
    _, link = world.exports.get(holder, card.card_id, job.job_id)
    assert link is not None
    assert link.expires_at == NOW + timedelta(minutes=15)
    assert "X-Amz-Expires=900" in link.url
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link.url
    world.later(days=7)
    with pytest.raises(GoneError) as refused:
        world.job(holder, card, job)
    assert refused.value.code == "transaction_export_expired"


def test_without_the_database_a_run_ends_with_that(world: ExportWorld, holder: Actor, card: Card) -> None:
    job = world.ask(holder, card)

    def nobody(*_: object) -> None:
        raise UnavailableError("The database does not answer.", code="database_unavailable")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.worker, "transaction", nobody)
        with pytest.raises(UnavailableError) as refused:
            world.run(Deadline(left=RESERVE_S + 5, each=1.0))
    assert refused.value.code == "database_unavailable"
    assert world.job(holder, card, job).status is ExportStatus.QUEUED


def test_asking_for_a_sixth_raises_what_a_client_can_read(world: ExportWorld, holder: Actor, card: Card) -> None:
    for cents in range(1, rules.OPEN_MAX + 1):
        world.ask(holder, card, HistoryFilters(min_amount=Decimal(cents) / 100))
    with pytest.raises(ConflictError, match="At most 5 exports"):
        world.ask(holder, card)

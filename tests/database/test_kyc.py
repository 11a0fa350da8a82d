"""KYC against the real database: submissions, and a provider's events however they come."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from cardwright.identity.service import IdentityService
from cardwright.kernel import signatures
from cardwright.kernel.errors import (
    ConflictError,
    InvalidFieldsError,
    ProviderRefusedError,
    UnauthenticatedError,
    UnavailableError,
)
from cardwright.kernel.secret import Secret
from cardwright.kyc.rules import Details, KycStatus, reference
from cardwright.kyc.service import KycEvents, KycService
from cardwright.platform.postgres import Actor
from cardwright.providers.kyc_simulated import read_event
from tests.fix_identity import PUBLIC_URL, Someone, Tools, as_role

SIGNING = Secret("whsec_" + "c2lnbmluZyBzZWNyZXQgb2YgdGhlIHRlc3Rz")
OLDER = Secret("whsec_" + "YW4gb2xkZXIgc2VjcmV0IG9mIHRoZSB0ZXN0cw==")
DETAILS = Details(Secret("Ada"), Secret("Lovelace"), Secret(date(1990, 12, 10)), "GB", "passport", Secret("X123"))


@dataclass
class Provider:
    """A provider that answers as it is told."""

    failures: list[Exception] = field(default_factory=list)
    taken: list[tuple[str, str]] = field(default_factory=list)

    def submit(self, reference: str, details: Details, callback_url: str) -> str:
        """Keep the submission, or fail."""
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append((reference, callback_url))
        return f"ver_{len(self.taken)}"


@pytest.fixture
def provider() -> Provider:
    """A provider that takes everything."""
    return Provider()


@pytest.fixture
def kyc(tools: Tools, provider: Provider) -> KycService:
    """The service under role app."""
    return KycService(tools.database, tools.clock, tools.ids, provider=lambda: provider, public_url=PUBLIC_URL)


@pytest.fixture
def events(tools: Tools, database_url: str) -> Iterator[KycEvents]:
    """The receiver under role worker."""
    database = as_role(database_url, "worker")
    yield KycEvents(database, tools.clock, tools.ids, secrets=lambda: [SIGNING, OLDER], read_event=read_event)
    database.close()


def person(who: Someone) -> Actor:
    """The person as an actor."""
    return Actor(who.user_id, "cardholder", "req-1")


def notice(
    events: KycEvents,
    tools: Tools,
    submission: tuple[UUID, UUID],
    status: str,
    *,
    event_id: str | None = None,
    key: Secret[str] = SIGNING,
) -> bool:
    """Deliver a signed event about a submission (user, submission)."""
    event_id = event_id or f"evt_{uuid4().hex}"
    body = json.dumps(
        {"event_id": event_id, "type": "verification.completed", "reference": reference(*submission), "status": status, "new": 1}
    ).encode()
    sent_at = int(tools.clock.now().timestamp())
    headers = {
        "webhook-id": event_id,
        "webhook-timestamp": str(sent_at),
        "webhook-signature": signatures.sign([key], event_id, sent_at, body),
    }
    return events.receive(headers, body)


def told(database_url: str, user_id: UUID) -> list[str]:
    """Types of the KYC events partners are told of."""
    sql = "SELECT type FROM outbox WHERE user_id = %s AND type LIKE 'kyc.%%' ORDER BY event_id"
    with psycopg.connect(database_url) as connection:
        return [row[0] for row in connection.execute(sql, (user_id,)).fetchall()]


def refused(kyc: KycService, who: Someone) -> str:
    """The code another submission is refused with."""
    with pytest.raises(ConflictError) as caught:
        kyc.submit(person(who), DETAILS, uuid4())
    return caught.value.code


def test_a_submission_is_pending_until_the_provider_decides(
    kyc: KycService, events: KycEvents, tools: Tools, provider: Provider, someone: Someone, database_url: str
) -> None:
    assert kyc.status(person(someone)).status is KycStatus.NOT_STARTED
    submission = uuid4()
    assert kyc.submit(person(someone), DETAILS, submission).status is KycStatus.PENDING
    assert provider.taken == [(reference(someone.user_id, submission), f"{PUBLIC_URL}/api/v1/webhooks/kyc")]
    assert refused(kyc, someone) == "kyc_pending"
    tools.advance(timedelta(seconds=3))
    assert notice(events, tools, (someone.user_id, submission), "approved")
    case = kyc.status(person(someone))
    assert (case.status, case.decided_at) == (KycStatus.VERIFIED, tools.clock.now())
    with tools.database.transaction(person(someone)) as tx:
        assert kyc.status_of(tx, someone.user_id) is KycStatus.VERIFIED
    assert refused(kyc, someone) == "kyc_already_verified"
    assert told(database_url, someone.user_id) == ["kyc.verified"]


def test_a_rejected_person_may_submit_again_and_late_events_change_nothing(
    kyc: KycService, events: KycEvents, tools: Tools, someone: Someone, database_url: str
) -> None:
    first, second = uuid4(), uuid4()
    kyc.submit(person(someone), DETAILS, first)
    assert notice(events, tools, (someone.user_id, first), "declined")
    assert kyc.status(person(someone)).status is KycStatus.REJECTED
    kyc.submit(person(someone), DETAILS, second)
    assert not notice(events, tools, (someone.user_id, first), "declined")
    assert not notice(events, tools, (someone.user_id, first), "approved")
    assert kyc.status(person(someone)).status is KycStatus.PENDING
    assert notice(events, tools, (someone.user_id, second), "approved")
    assert sorted(told(database_url, someone.user_id)) == ["kyc.rejected", "kyc.verified"]


def test_events_may_come_twice_and_out_of_order(
    kyc: KycService, events: KycEvents, tools: Tools, someone: Someone, database_url: str
) -> None:
    submission = uuid4()
    kyc.submit(person(someone), DETAILS, submission)
    about = (someone.user_id, submission)
    assert notice(events, tools, about, "review", event_id="evt_a")
    assert refused(kyc, someone) == "kyc_in_review"
    assert notice(events, tools, about, "approved", event_id="evt_b")
    for event_id, status in (("evt_a", "review"), ("evt_b", "approved"), ("evt_c", "review"), ("evt_d", "approved")):
        assert not notice(events, tools, about, status, event_id=event_id)
    assert kyc.status(person(someone)).status is KycStatus.VERIFIED
    assert told(database_url, someone.user_id) == ["kyc.verified"]


def test_twenty_deliveries_of_one_event_at_once_move_the_case_once(
    kyc: KycService, events: KycEvents, tools: Tools, someone: Someone, database_url: str
) -> None:
    submission = uuid4()
    kyc.submit(person(someone), DETAILS, submission)

    def deliver(_: int) -> bool:
        try:
            return notice(events, tools, (someone.user_id, submission), "approved", event_id="evt_same")
        finally:
            events._database.close()

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(deliver, range(20))) == 1
    assert told(database_url, someone.user_id) == ["kyc.verified"]


def test_an_event_about_nobody_is_taken(events: KycEvents, tools: Tools, someone: Someone) -> None:
    assert not notice(events, tools, (uuid4(), uuid4()), "approved")
    assert not notice(events, tools, (someone.user_id, uuid4()), "approved")


def test_an_event_must_be_signed_by_a_current_secret(kyc: KycService, events: KycEvents, tools: Tools, someone: Someone) -> None:
    submission = uuid4()
    kyc.submit(person(someone), DETAILS, submission)
    with pytest.raises(UnauthenticatedError) as caught:
        notice(events, tools, (someone.user_id, submission), "approved", key=Secret("whsec_d3Jvbmc="))
    assert caught.value.code == "signature_invalid"
    with pytest.raises(UnauthenticatedError):
        events.receive({}, b"{}")
    assert kyc.status(person(someone)).status is KycStatus.PENDING
    assert notice(events, tools, (someone.user_id, submission), "approved", key=OLDER)


def test_the_same_operation_is_handed_over_once(kyc: KycService, provider: Provider, someone: Someone) -> None:
    operation = uuid4()
    first = kyc.submit(person(someone), DETAILS, operation)
    assert kyc.submit(person(someone), DETAILS, operation) == first
    assert len(provider.taken) == 1


def test_a_refused_submission_leaves_the_case_as_it_was(kyc: KycService, provider: Provider, someone: Someone) -> None:
    provider.failures = [ProviderRefusedError("no", code="kyc_refused")]
    with pytest.raises(ProviderRefusedError):
        kyc.submit(person(someone), DETAILS, uuid4())
    assert kyc.status(person(someone)).status is KycStatus.NOT_STARTED
    assert kyc.submit(person(someone), DETAILS, uuid4()).status is KycStatus.PENDING


def test_after_an_outage_the_person_may_submit_again_and_the_lost_answer_still_counts(
    kyc: KycService, events: KycEvents, tools: Tools, provider: Provider, someone: Someone, enrolled: Someone
) -> None:
    for who, again in ((someone, True), (enrolled, False)):
        provider.failures = [UnavailableError("gone", code="kyc_unavailable")]
        lost = uuid4()
        with pytest.raises(UnavailableError):
            kyc.submit(person(who), DETAILS, lost)
        assert kyc.status(person(who)).status is KycStatus.PENDING
        current = lost
        if again:
            current = uuid4()
            kyc.submit(person(who), DETAILS, current)
        assert notice(events, tools, (who.user_id, current), "approved")


def test_bad_details_reach_nobody(kyc: KycService, provider: Provider, someone: Someone) -> None:
    child = Details(Secret("A"), Secret("B"), Secret(date(2020, 1, 1)), "GB", "passport", Secret("X123"))
    with pytest.raises(InvalidFieldsError):
        kyc.submit(person(someone), child, uuid4())
    assert provider.taken == []
    assert kyc.status(person(someone)).status is KycStatus.NOT_STARTED


def test_nothing_that_was_submitted_is_kept(kyc: KycService, someone: Someone, database_url: str) -> None:
    kyc.submit(person(someone), DETAILS, uuid4())
    with psycopg.connect(database_url) as connection:
        case = connection.execute("SELECT * FROM kyc_cases WHERE user_id = %s", (someone.user_id,)).fetchall()
        entries = connection.execute("SELECT * FROM audit_log WHERE subject_id = %s", (someone.user_id,)).fetchall()
    stored = str(case) + str(entries)
    assert "kyc.submitted" in stored
    assert [text for text in ("Lovelace", "X123", "1990") if text in stored] == []


def test_a_persons_own_request_never_verifies(tools: Tools, someone: Someone) -> None:
    insert = "INSERT INTO kyc_cases (user_id, status) VALUES (%s, 'VERIFIED')"
    with pytest.raises(psycopg.errors.InsufficientPrivilege), tools.database.transaction(person(someone)) as tx:
        tx.execute(insert, (someone.user_id,))
    with tools.database.transaction(person(someone)) as tx:
        tx.execute("INSERT INTO kyc_cases (user_id, status) VALUES (%s, 'PENDING')", (someone.user_id,))
    with pytest.raises(psycopg.errors.InsufficientPrivilege), tools.database.transaction(person(someone)) as tx:
        tx.execute("UPDATE kyc_cases SET status = 'VERIFIED'")


def test_an_operator_puts_a_status_once(kyc: KycService, someone: Someone, database_url: str) -> None:
    for _ in range(2):
        kyc.provision_status(someone.user_id, KycStatus.VERIFIED)
    assert kyc.status(person(someone)).version == 2
    assert told(database_url, someone.user_id) == []


def test_a_case_is_seen_by_its_person_alone(
    kyc: KycService, identity: IdentityService, someone: Someone, enrolled: Someone
) -> None:
    kyc.provision_status(someone.user_id, KycStatus.VERIFIED)
    assert kyc.status(person(someone)).status is KycStatus.VERIFIED
    assert kyc.status(person(enrolled)).status is KycStatus.NOT_STARTED

"""The life of transactions against a simple model: whatever is asked and told, in whichever order, both say the same."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule, run_state_machine_as_test

from bench.proofs import witness
from bench.proofs.grounds import Ground
from bench.proofs.recording import BEGIN, KINDS, Client, new_card
from bench.proofs.spend_model import SpendModel

AMOUNTS = st.sampled_from((1, 100, 2_500, 5_000)) | st.integers(1, 6_000)
KINDS_OF_EVENT = st.sampled_from(("cleared", "cleared", "reversed", "refunded", "expired"))
STEPS = timedelta(minutes=7)


@pytest.fixture
def ground(fresh_database: str, cache_url: str) -> Ground:
    """A ground of this test's own: what it tries again is all that waits."""
    return Ground(fresh_database, cache_url)


class LifeMachine(RuleBasedStateMachine):
    """One card and one client, beside the model."""

    ground: Ground
    kind: int

    ids = Bundle("ids")
    unknown_ids = Bundle("unknown_ids")
    events = Bundle("events")

    def __init__(self) -> None:
        super().__init__()
        self.card = new_card(self.ground, self.kind)
        self.client = Client(self.ground, 0)
        self.model = SpendModel(KINDS[self.kind])
        self.state = self.model.start()
        self.number = 0

    def teardown(self) -> None:
        """Whatever waited for its authorization has it now; then all adds up."""
        self.do("settle", {})
        self.client.close()
        assert witness.sums(self.ground) == []

    def do(self, name: str, asked: dict[str, Any]) -> None:
        """Do one operation in both worlds."""
        self.number += 1
        now = BEGIN + STEPS * self.number
        # What waits is due whenever it is tried: the wait doubles, and a day is longer than the longest.
        self.client.clock.at = now + timedelta(days=1) if name == "settle" else now
        if name == "authorize":
            midnight = now.replace(hour=0, minute=0, second=0)
            moments = {"now": now, "day": midnight, "month": midnight.replace(day=1)}
            asked = asked | {moment: int(at.timestamp()) for moment, at in moments.items()}
        operation = self.client.operate(self.card, name, asked)
        self.state, expected = self.model.run(self.state, operation)
        assert operation.answer is not None
        assert operation.answer == {told: expected.get(told) for told in operation.answer}

    def fresh(self, prefix: str) -> str:
        """A name nobody has used on this card."""
        return f"{prefix}_{self.number}"

    @rule(target=ids, amount=AMOUNTS, partial=st.booleans())
    def ask(self, amount: int, partial: bool) -> dict[str, Any]:
        """A new authorization."""
        return self.authorize(self.fresh("auth"), amount, partial=partial)

    @rule(target=ids, identity=consumes(unknown_ids), amount=AMOUNTS)
    def ask_what_was_told_of(self, identity: str, amount: int) -> dict[str, Any]:
        """The request that comes after its events."""
        return self.authorize(identity, amount)

    @rule(target=ids, original=ids, amount=AMOUNTS)
    def ask_for_more(self, original: dict[str, Any], amount: int) -> dict[str, Any]:
        """An incremental authorization."""
        return self.authorize(self.fresh("more"), amount, original=str(original["id"]))

    @rule(asked=ids, other=st.integers(0, 1))
    def ask_again(self, asked: dict[str, Any], other: int) -> None:
        """The same request, or another under its id."""
        amount = asked["amount"] + other
        self.do("authorize", asked | {"amount": amount, "body": f"{amount} {asked['partial']} {asked.get('original')}"})

    @rule(target=events, about=ids, kind=KINDS_OF_EVENT, share=st.sampled_from((1, 2, 3, 4)), final=st.booleans())
    def tell(self, about: dict[str, Any], kind: str, share: int, final: bool) -> dict[str, Any]:
        """An event of half, all or more of an authorization."""
        return self.told(str(about["id"]), kind, about["amount"] * share // 2, final=final)

    @rule(about=ids, kinds=st.lists(KINDS_OF_EVENT, min_size=2, max_size=4), share=st.sampled_from((1, 2)))
    def tell_a_whole_life(self, about: dict[str, Any], kinds: list[str], share: int) -> None:
        """Several events of one authorization, in any order."""
        for kind in kinds:
            self.told(str(about["id"]), kind, about["amount"] * share // 2)
            self.do("read", {})

    @rule(target=unknown_ids, kind=KINDS_OF_EVENT, amount=AMOUNTS)
    def tell_of_what_is_not_known(self, kind: str, amount: int) -> Any:
        """An event that comes before its authorization."""
        identity = self.fresh("ahead")
        self.told(identity, kind, amount)
        return multiple(identity)

    @rule(about=ids, amount=AMOUNTS)
    def tell_in_another_currency(self, about: dict[str, Any], amount: int) -> None:
        """An event that belongs to nothing, however often it is tried."""
        self.told(str(about["id"]), "cleared", amount, currency="EUR")

    @rule(event=events, other=st.integers(0, 1))
    def tell_again(self, event: dict[str, Any], other: int) -> None:
        """The same event, or another under its id."""
        self.do("event", event | {"amount": event["amount"] + other})

    @rule()
    def try_again(self) -> None:
        """What was parked is tried."""
        self.do("settle", {})

    @rule(status=st.sampled_from(("FROZEN", "ACTIVE", "ACTIVE")))
    def freeze(self, status: str) -> None:
        """Another status."""
        self.do("set", {"status": status})

    @rule(about=ids)
    def look(self, about: dict[str, Any]) -> None:
        """A transaction's own amounts and status."""
        self.do("look", {"id": about["id"]})

    @invariant()
    def the_spend_row_is_what_the_model_says(self) -> None:
        """Holds, windows and balance, after each step."""
        self.do("read", {})

    def authorize(self, identity: str, amount: int, *, partial: bool = False, original: str | None = None) -> dict[str, Any]:
        """Ask, and return what was asked."""
        asked: dict[str, Any] = {"id": identity, "amount": amount, "partial": partial}
        asked |= {} if original is None else {"original": original}
        asked["body"] = f"{amount} {partial} {original}"
        self.do("authorize", asked)
        return asked

    def told(self, identity: str, kind: str, amount: int, *, final: bool = False, currency: str = "USD") -> dict[str, Any]:
        """Tell an event, and return it."""
        # An expiry of no amount ends whatever is held.
        amount = 0 if kind == "expired" and amount % 2 else max(amount, 1)
        event = {
            "event_id": self.fresh("evt"), "type": kind, "id": identity, "amount": amount, "final": final and kind == "cleared",
            "currency": currency,
        }  # fmt: skip
        self.do("event", event)
        return event


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_lives_go_as_the_model_says(ground: Ground, kind: int) -> None:
    machine = type("Machine", (LifeMachine,), {"ground": ground, "kind": kind})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=8, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)),
    )
    assert ground.rows("SELECT count(*) > 0 FROM card_transactions") == [(True,)]

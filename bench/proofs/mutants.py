"""Faults put into our own SQL and Python on purpose: one text for another, each of which the checker must notice.

A mutant whose text no longer stands where it should fails loudly: it would else prove nothing.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import psycopg

from bench.proofs.grounds import MIGRATIONS, Ground

_FUNCTION = r"CREATE (?:OR REPLACE )?FUNCTION {name}\([\s\S]*?\$(\w+)\$[\s\S]*?\$\1\$;"
Edits = tuple[tuple[str, str], ...]


class MutantGoneError(Exception):
    """The text a mutant changes does not stand in the code any more: write the mutant anew."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault. `place` is a function of the database, or a module of Python with dots; `also` is SQL run beside it."""

    name: str
    place: str
    edits: Edits
    also: str = ""

    @property
    def in_python(self) -> bool:
        """True for a fault in a module."""
        return "." in self.place

    def mutate(self, text: str) -> str:
        """The text with the fault in it. Raises MutantGoneError unless each old text stands there."""
        for old, new in self.edits:
            if old not in text:
                raise MutantGoneError(f"{self.name}: {self.place} does not hold {old!r}")
            text = text.replace(old, new)
        return text


_RECORD = "record_authorization"
_MOVE = "move_spend"
_LIFE = "cardwright.transactions.service.life"
_PLACING = "cardwright.transactions.service.placing"
_RULES = "cardwright.transactions.rules.life"
_DAY = "CASE WHEN l.day_start >= p_day_start THEN l.day_spent ELSE 0 END + offer"
_MONTH = "CASE WHEN l.month_start >= p_month_start THEN l.month_spent ELSE 0 END + offer"
_HELD = "held = l.held + offer,"
_OWN_ID = "t.card_id = p_card_id AND t.authorization_id = p_authorization_id)\n"
_FIRST = "day_first_seq = CASE WHEN l.day_start >= p_day_start THEN l.day_first_seq ELSE l.chain_seq + 1 END,"
_VERSION = "WHERE l.card_id = p_card_id AND l.config_version = p_config_version\n"
_TOO_FEW = "cardinality(l.recent_approvals) < l.velocity_per_hour"
_OTHER_BODY = "earlier.request_digest <> p_request_digest THEN 'reused'"
_PARTIAL = "AND (NOT p_partial OR offer <= l.per_transaction)"
_EXPIRY = "ended = final or any(event.type is EventType.EXPIRED and event.amount == 0 for event in events)"
_WAIT = "return min(timedelta(seconds=2 ** min(tries, 20)), _LONGEST_WAIT)"
# A row that is read before it is locked may be another one by the time it is written.
_FIRST_LOCK = "PERFORM FROM card_limits l WHERE l.card_id = p_card_id FOR NO KEY UPDATE;"
_READ_FIRST = (
    "FOR attempt IN 1..2 LOOP",
    "SELECT * INTO spend FROM card_limits l WHERE l.card_id = p_card_id;\n    FOR attempt IN 1..2 LOOP",
)
# Without the key that would refuse the second row.
_NO_KEY = """
DO $unique$ DECLARE
    name text;
BEGIN
    SELECT conname INTO STRICT name FROM pg_constraint WHERE conrelid = 'card_transactions'::regclass AND contype = 'u';
    EXECUTE format('ALTER TABLE card_transactions DROP CONSTRAINT %I', name);
    CREATE INDEX ON card_transactions (card_id, authorization_id);
END $unique$
"""


def _one(name: str, place: str, old: str, new: str, also: str = "") -> Mutant:
    return Mutant(name, place, ((old, new),), also)


MUTANTS = (
    _one("the hold is not added", _RECORD, _HELD, "held = l.held,"),
    Mutant("the hold is taken from a row read before the lock", _RECORD, (_READ_FIRST, (_HELD, "held = spend.held + offer,"))),
    Mutant(
        "the day's sum is taken from a row read before the lock",
        _RECORD,
        (_READ_FIRST, (f"day_spent = {_DAY},", f"day_spent = {_DAY.replace('l.day_spent', 'spend.day_spent')},")),
    ),
    Mutant(
        "the limit is checked on a row read before the lock",
        _RECORD,
        (_READ_FIRST, (f"{_DAY} <= l.daily", "spend.day_spent + offer <= spend.daily")),
    ),
    _one("the daily limit lets a cent more pass", _RECORD, f"{_DAY} <= l.daily", f"{_DAY} <= l.daily + 0.01"),
    _one("the daily limit is not checked", _RECORD, f"AND {_DAY} <= l.daily", ""),
    _one("the monthly limit is not checked", _RECORD, f"AND {_MONTH} <= l.monthly", ""),
    _one("one approval more than the velocity allows", _RECORD, _TOO_FEW, _TOO_FEW.replace("<", "<=")),
    _one("an hour of forty minutes", _RECORD, "<= p_now - interval '1 hour'", "<= p_now - interval '40 minutes'"),
    _one("approvals are not noted for the velocity", _RECORD, "(l.recent_approvals || p_now)[", "(l.recent_approvals)["),
    _one("decided on an old version of the card", _RECORD, _VERSION, "WHERE l.card_id = p_card_id\n"),
    _one("the id is not looked for", _RECORD, _OWN_ID, "t.card_id = p_card_id AND t.authorization_id = '-')\n", _NO_KEY),
    _one("an id asked with another body is repeated", _RECORD, _OTHER_BODY, "false THEN 'reused'"),
    _one("the day does not begin", _RECORD, "day_start = greatest(l.day_start, p_day_start),", "day_start = l.day_start,"),
    _one("a new day counts what was taken from the old", _RECORD, _FIRST, "day_first_seq = l.day_first_seq,"),
    _one("more of what is over belongs to it still", _RECORD, "AND t.status IN ('AUTHORIZED', 'PARTIALLY_CLEARED')", ""),
    _one("whether there may be more is looked at before the lock", _RECORD, _FIRST_LOCK, ""),
    _one("money on hold is spent once more", _RECORD, "l.balance - l.held >= offer", "l.balance >= offer"),
    _one("a partial approval of more than one payment may be", _RECORD, _PARTIAL, ""),
    _one("events do not move the hold", _MOVE, "held = l.held + p_held", "held = l.held"),
    _one("what is given back is given back twice", _MOVE, "+ of_day,", "+ greatest(2 * of_day, -l.day_spent),"),
    _one("yesterday's money is given back to today", _MOVE, " FILTER (WHERE m.seq >= here.day_first_seq)", ""),
    _one("events do not move the balance", _MOVE, "balance = l.balance + p_balance", "balance = l.balance"),
    _one(
        "an event does not lock the spend row",
        "cardwright.cards.store.spending",
        "WHERE card_id = %s FOR NO KEY UPDATE",
        "WHERE card_id = %s",
    ),
    _one("an expiry gives nothing back", _RULES, _EXPIRY, "ended = final"),
    _one("a reversal gives nothing back", _RULES, "- cleared - returned - lapsed, _NOTHING", "- cleared - lapsed, _NOTHING"),
    _one("a refund gives nothing back", _RULES, "max(cleared - refunded, _NOTHING)", "cleared"),
    _one(
        "the cache answers for another body",
        "cardwright.authorizations.service.entries",
        "if known != digest.hex():",
        "if known == 'nothing':",
    ),
    _one("what is parked is never tried again", _PLACING, _WAIT, "return timedelta(days=400)"),
    _one("an event is not known the second time", _LIFE, "if known is not None:", "if known is None and known is not None:"),
    _one(
        "two callers with one id end in an error",
        "cardwright.authorizations.store",
        "except UniqueViolation:",
        "except ZeroDivisionError:",
    ),
)


def function_text(name: str) -> str:
    """The statement that makes a function of the database, from the last migration that does."""
    found = None
    for path in sorted(MIGRATIONS.glob("*.sql")):
        for match in re.finditer(_FUNCTION.format(name=name), path.read_text("utf-8")):
            found = match.group(0)
    if found is None:
        raise MutantGoneError(f"no migration makes {name}")
    return re.sub(r"^CREATE (OR REPLACE )?FUNCTION", "CREATE OR REPLACE FUNCTION", found)


def module_text(name: str) -> str:
    """The source of a module of ours."""
    path = MIGRATIONS.parents[1] / "shared" / Path(*name.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8")


def apply_to_database(mutant: Mutant, ground: Ground) -> None:
    """Put a fault into a scratch database; one in Python leaves it as it is."""
    with psycopg.connect(ground.url, autocommit=True) as owner:
        if not mutant.in_python:
            owner.execute("SET ROLE migrator")
            owner.execute(mutant.mutate(function_text(mutant.place)).encode())
        if mutant.also:
            owner.execute(mutant.also.encode())

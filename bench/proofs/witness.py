"""Judges that read only the database: a witness of every committed version of a spend row, and sums that must agree in the end.

The witness is a pair of triggers that stand in databases of proofs alone. Both write in the transaction they see, so what they
hold was committed, and a card's versions are numbered under the lock of its spend row, so in the order of their commits.
"""

from dataclasses import dataclass

from bench.proofs.grounds import Ground

_TRIGGERS = """
CREATE UNLOGGED TABLE proof_versions (
    version bigint GENERATED ALWAYS AS IDENTITY, xid xid8 NOT NULL, card_id uuid NOT NULL, held numeric NOT NULL,
    day_start timestamptz NOT NULL, day_spent numeric NOT NULL, month_spent numeric NOT NULL, daily numeric NOT NULL,
    monthly numeric NOT NULL, balance numeric);
CREATE UNLOGGED TABLE proof_moves (xid xid8 NOT NULL, card_id uuid NOT NULL, held numeric NOT NULL, spent numeric NOT NULL);
CREATE FUNCTION note_proof_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $note$
BEGIN
    INSERT INTO proof_versions (xid, card_id, held, day_start, day_spent, month_spent, daily, monthly, balance)
        VALUES (pg_current_xact_id(), NEW.card_id, NEW.held, NEW.day_start, NEW.day_spent, NEW.month_spent, NEW.daily,
                NEW.monthly, NEW.balance);
    RETURN NULL;
END
$note$;
CREATE FUNCTION note_proof_move() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $note$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO proof_moves VALUES (pg_current_xact_id(), NEW.card_id, NEW.held_amount, NEW.spent_amount);
    ELSE
        INSERT INTO proof_moves VALUES (pg_current_xact_id(), NEW.card_id, NEW.held_amount - OLD.held_amount,
                                        NEW.spent_amount - OLD.spent_amount);
    END IF;
    RETURN NULL;
END
$note$;
CREATE TRIGGER proof_versions AFTER UPDATE ON card_limits FOR EACH ROW EXECUTE FUNCTION note_proof_version();
CREATE TRIGGER proof_moves AFTER INSERT OR UPDATE ON card_transactions FOR EACH ROW EXECUTE FUNCTION note_proof_move();
"""

# Each version beside the running sum of what the rows say: the two may never differ, nor the sum pass the limit.
_RUNNING = """
WITH moved AS (SELECT card_id, xid, sum(held) AS held, sum(spent) AS spent FROM proof_moves GROUP BY card_id, xid),
     last AS (SELECT DISTINCT ON (card_id, xid) * FROM proof_versions ORDER BY card_id, xid, version DESC),
     ran AS (
        SELECT l.*, sum(coalesce(m.held, 0)) OVER w AS held_sum, sum(coalesce(m.spent, 0)) OVER w AS spent_sum
        FROM last l LEFT JOIN moved m USING (card_id, xid) WINDOW w AS (PARTITION BY l.card_id ORDER BY l.version))
SELECT count(*), count(*) FILTER (WHERE held <> held_sum), count(*) FILTER (WHERE month_spent <> spent_sum),
       count(*) FILTER (WHERE held > monthly OR held_sum > monthly), count(*) FILTER (WHERE spent_sum > monthly),
       count(*) FILTER (WHERE held < 0 OR day_spent < 0 OR month_spent < 0),
       (SELECT count(*) FROM moved m WHERE (m.held <> 0 OR m.spent <> 0)
            AND NOT EXISTS (SELECT FROM last l WHERE l.card_id = m.card_id AND l.xid = m.xid))
FROM ran
"""

_SPEND_ROWS = """
SELECT l.card_id, l.held, t.held, l.day_spent, t.day, l.month_spent, t.month, l.chain_seq, t.seq
FROM card_limits l CROSS JOIN LATERAL (
    SELECT coalesce(sum(held_amount), 0) AS held,
           coalesce(sum(spent_amount) FILTER (WHERE chain_seq >= l.day_first_seq), 0) AS day,
           coalesce(sum(spent_amount) FILTER (WHERE chain_seq >= l.month_first_seq), 0) AS month,
           coalesce(max(chain_seq), 0) AS seq
    FROM card_transactions t WHERE t.card_id = l.card_id) AS t
WHERE l.held <> t.held OR l.day_spent <> t.day OR l.month_spent <> t.month OR l.chain_seq < t.seq
"""

_TWICE = """
SELECT card_id, authorization_id, count(*) FROM card_transactions
WHERE authorization_id IS NOT NULL GROUP BY card_id, authorization_id HAVING count(*) > 1
"""
_CHAIN = """
SELECT card_id, count(*) FROM (
    SELECT card_id, chain_seq, lag(chain_seq, 1, 0::bigint) OVER (PARTITION BY card_id ORDER BY chain_seq) AS former
    FROM card_transactions) AS t
WHERE chain_seq <> former + 1 GROUP BY card_id
"""
_UNBALANCED = "SELECT currency, sum(amount) FROM ledger_entries GROUP BY currency HAVING sum(amount) <> 0"
_POSTING = """
SELECT card_id, posting_id, currency, sum(amount) FROM ledger_entries
GROUP BY card_id, posting_id, currency HAVING sum(amount) <> 0
"""


@dataclass(frozen=True, slots=True)
class Versions:
    """How many committed versions the witness saw, and what was wrong with them."""

    seen: int
    violations: list[str]


# Each change of a card moves one of the two numbers on, so their sum tells which came first.
_GUIDE = """
CREATE UNLOGGED TABLE IF NOT EXISTS proof_places (card_id uuid, name text, place bigint);
CREATE OR REPLACE FUNCTION note_proof_place() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
AS $note$
BEGIN
    INSERT INTO proof_places SELECT NEW.card_id, to_jsonb(NEW) ->> TG_ARGV[0], 2 * (l.chain_seq + l.event_seq) + TG_ARGV[1]::int
        FROM card_limits l WHERE l.card_id = NEW.card_id;
    RETURN NULL;
END
$note$;
CREATE OR REPLACE TRIGGER proof_places AFTER INSERT ON card_transactions
    FOR EACH ROW EXECUTE FUNCTION note_proof_place('authorization_id', '0');
CREATE OR REPLACE TRIGGER proof_places AFTER INSERT ON transaction_events
    FOR EACH ROW EXECUTE FUNCTION note_proof_place('event_id', '1');
"""


def watch(ground: Ground) -> None:
    """From now on every committed version of every spend row is kept, and every move of a transaction's amounts."""
    ground.run(_TRIGGERS)


def guide(ground: Ground) -> None:
    """From now on it is kept in which order the decisions and events of a card came."""
    ground.run(_GUIDE)


def places(ground: Ground, token: str) -> dict[str, int]:
    """Where the authorizations and events of a card came, by their ids."""
    return dict(
        ground.rows(
            "SELECT name, place FROM proof_places JOIN card_tokens USING (card_id) WHERE processor_card_token = %s", (token,)
        )
    )


def versions(ground: Ground) -> Versions:
    """Judge every committed version since `watch`: it equals the sum over transactions at that moment and keeps the limit.

    The cards must have been new, their limits unchanged, and their month the same all the time.
    """
    ((seen, held, spent, over_held, over_spent, negative, unseen),) = ground.rows(_RUNNING)
    wrong = {
        "versions whose hold is not the sum over transactions": held,
        "versions whose month is not the sum over transactions": spent,
        "versions that hold more than the limit": over_held,
        "versions whose holds and captures exceed the limit": over_spent,
        "versions below zero": negative,
        "moves of amounts beside the spend row": unseen,
    }
    return Versions(seen, [f"{count} {name}" for name, count in wrong.items() if count])


def sums(ground: Ground) -> list[str]:
    """What does not add up now: spend rows beside their transactions, ids decided twice, chains with gaps, the ledger."""
    found = [
        f"spend row of {row[0]}: held {row[1]} beside {row[2]}, day {row[3]} beside {row[4]}, month {row[5]} beside {row[6]}, "
        f"chain {row[7]} beside {row[8]}"
        for row in ground.rows(_SPEND_ROWS)
    ]
    found += [f"card {row[0]}: {row[2]} rows for {row[1]}" for row in ground.rows(_TWICE)]
    found += [f"card {row[0]}: {row[1]} gaps in the chain" for row in ground.rows(_CHAIN)]
    found += [f"the ledger's {row[0]} add up to {row[1]}" for row in ground.rows(_UNBALANCED)]
    found += [f"posting {row[1]} adds up to {row[3]} {row[2]}" for row in ground.rows(_POSTING)]
    return found

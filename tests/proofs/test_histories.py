"""Recorded histories of the real services are explained; those of code with a fault in it are not."""

from dataclasses import replace
from pathlib import Path

import pytest

from bench.proofs import checking, mutants, witness
from bench.proofs.grounds import Ground, add_cards
from bench.proofs.histories import HistoryFile, Operation, read
from bench.proofs.mutants import MUTANTS, Mutant, MutantGoneError
from local.servers.postgres import PostgresServer

# Two that only a lock prevents, in SQL and in Python, one of the id, one of the sums: each shows in nearly every history.
QUICK = (
    "the hold is taken from a row read before the lock",
    "the id is not looked for",
    "an event does not lock the spend row",
    "a reversal gives nothing back",
)


def test_an_order_explains_what_sixteen_clients_saw(ground: Ground) -> None:
    figures = checking.explain(ground, seed=20261121, histories=2, operations=400, clients=16)
    assert figures["found"] == []
    assert figures["operations"] > 800


def test_faults_put_in_on_purpose_are_flagged(ground: Ground, postgres: PostgresServer) -> None:
    chosen = tuple(mutant for mutant in MUTANTS if mutant.name in QUICK)
    flagged = checking.flag(postgres, ground.cache_url, seed=7, mutants=chosen, template=ground)
    assert len(flagged) == 4
    assert [name for name, why in flagged.items() if why is None] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_fault_still_finds_the_text_it_changes(mutant: Mutant) -> None:
    text = mutants.module_text(mutant.place) if mutant.in_python else mutants.function_text(mutant.place)
    assert mutant.mutate(text) != text


def test_a_fault_whose_text_is_gone_says_so() -> None:
    gone = replace(MUTANTS[0], edits=(("no such text", ""),))
    with pytest.raises(MutantGoneError, match="no such text"):
        gone.mutate(mutants.function_text(gone.place))
    with pytest.raises(MutantGoneError, match="no migration makes"):
        mutants.function_text("no_such_function")


def test_there_are_twenty_faults_and_more_each_with_a_name_of_its_own() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert sum(mutant.in_python for mutant in MUTANTS) >= 5


def test_the_witness_sees_a_version_that_does_not_add_up(ground: Ground) -> None:
    (card,) = add_cards(ground, 1)
    witness.watch(ground)
    ground.run("UPDATE card_limits SET held = 5 WHERE card_id = %s", (card.card_id,))
    assert witness.versions(ground).violations == ["1 versions whose hold is not the sum over transactions"]
    assert len(witness.sums(ground)) == 1


def test_a_history_on_disk_outlives_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "history"
    operation = Operation("tok", 1, "read", {}, 1, 2, {"held": 0})
    file = HistoryFile(path)
    file.add(operation)
    file.close()
    with path.open("a") as lines:
        lines.write('{"card": "tok", "cli')
    assert list(read(path)) == [operation]

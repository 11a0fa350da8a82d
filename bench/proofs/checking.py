"""The checker at work: histories of the code as it is, which it must explain, and of mutants, which it must flag."""

import json
import random
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.proofs.grounds import Ground, copy_database, make_database, own_ground
from bench.proofs.histories import Operation
from bench.proofs.judging import judge
from bench.proofs.linearizability import UndecidedError
from bench.proofs.mutants import MUTANTS, Mutant, apply_to_database
from bench.proofs.recording import Plan, record
from local.servers.postgres import PostgresServer

# The code as it is, judged as the mutants are: what is flagged for another reason than its fault proves nothing.
CONTROL = Mutant("the code as it is", "record_authorization", ())
# A mutant that needs luck to show gets more than one chance.
CHANCES = 16
# Short, so that the search for an order that does not exist comes to its end.
MUTANT_PLAN = Plan(seed=0, operations=200, clients=12)
MUTANT_STEPS = 150_000
ROOT = Path(__file__).parents[2]


def measure(
    *,
    seed: int | None = None,
    histories: int = 200,
    operations: int = 1000,
    clients: int = 16,
    mutants: tuple[Mutant, ...] = MUTANTS,
) -> dict[str, Any]:
    """Record and judge histories, then every mutant, on servers of its own. Figures, with `violations` and `unflagged`."""
    seed = random.SystemRandom().randrange(2**31) if seed is None else seed
    print(f"checker: seed {seed}", flush=True)
    with own_ground(durable=False) as (ground, postgres):
        found = explain(ground, seed=seed, histories=histories, operations=operations, clients=clients)
        flagged = flag(postgres, ground.cache_url, seed=seed, mutants=(CONTROL, *mutants))
    if (why := flagged.pop(CONTROL.name)) is not None:
        found["found"].append(why)
    unflagged = [name for name, why in flagged.items() if why is None]
    return {**found, "mutants": len(flagged), "unflagged": unflagged, "violations": len(found["found"]) + len(unflagged)}


def explain(ground: Ground, *, seed: int, histories: int, operations: int, clients: int) -> dict[str, Any]:
    """Record histories of the code as it is; `found` lists what no order explains, and what nobody could decide."""
    figures: dict[str, Any] = {"seed": seed, "histories": histories, "operations": 0, "unknown": 0, "steps": 0, "found": []}
    for number in range(histories):
        history = record(ground, Plan(seed + number, operations, clients))
        try:
            # The whole database is summed once, at the end.
            judgement = judge(history, ground if number == histories - 1 else None)
        except UndecidedError as error:
            figures["found"].append(f"seed {seed + number}: {error}")
            continue
        figures["operations"] += judgement.operations
        figures["unknown"] += judgement.unknown
        figures["steps"] += judgement.steps
        figures["found"] += [f"seed {seed + number}: {violation}" for violation in judgement.violations]
    return figures


def flag(
    postgres: PostgresServer, cache_url: str, *, seed: int, mutants: tuple[Mutant, ...], template: Ground | None = None
) -> dict[str, str | None]:
    """For each mutant what gave it away, None for one that passed every time."""
    template = template or make_database(postgres, cache_url, f"mutants_{seed}")
    found = {}
    for number, mutant in enumerate(mutants):
        scratch = copy_database(postgres, template, f"mutant_{seed}_{number}")
        apply_to_database(mutant, scratch)
        found[mutant.name] = _give_away(mutant, scratch, seed)
    return found


def _give_away(mutant: Mutant, scratch: Ground, seed: int) -> str | None:
    for chance in range(CHANCES):
        plan = Plan(seed + chance, MUTANT_PLAN.operations, MUTANT_PLAN.clients)
        history = _record_apart(mutant, scratch, plan)
        try:
            violations = judge(history, scratch, steps_max=MUTANT_STEPS).violations
        except UndecidedError:
            continue
        if violations:
            return violations[0]
    return None


def _record_apart(mutant: Mutant, scratch: Ground, plan: Plan) -> list[Operation]:
    """Record in a process of its own: a module that was imported keeps its text."""
    task: dict[str, Any] = {"url": scratch.url, "cache_url": scratch.cache_url, "plan": asdict(plan)}
    if mutant.in_python:
        task |= {"module": mutant.place, "edits": mutant.edits}
    done = subprocess.run(
        [sys.executable, "-m", "bench.proofs.mutated"], input=json.dumps(task) + "\n", capture_output=True, text=True,
        check=False, cwd=ROOT, timeout=300,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{mutant.name}: the recording failed: {done.stderr[-1500:]}")
    return [Operation(**json.loads(line)) for line in done.stdout.splitlines()]

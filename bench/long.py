"""`make bench-long`: the long proofs; each writes build/bench/<name>.json and fails over what was found or a limit missed."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench import crowd, export, growth, mutation, settlement
from bench.proofs import kills
from bench.proofs.long_forms import PROOFS
from bench.run import RESULTS

Proof = Callable[[], dict[str, Any]]


def proofs(wanted: argparse.Namespace) -> dict[str, Proof]:
    """The proofs by name, in their long form."""
    return {
        **PROOFS,
        "kills": partial(kills.measure, kills=wanted.kills),
        "growth": partial(growth.measure, transactions=wanted.transactions),
        "crowd": crowd.measure,
        "settlement": settlement.measure,
        "export": export.measure,
        "mutation": partial(mutation.measure, wanted.domains, sample=wanted.sample, seed=wanted.seed),
    }


def missed(figures: dict[str, Any]) -> list[str]:
    """What a proof found that must not be, and the limits that it did not keep."""
    found = [str(one) for one in figures.get("found", [])]
    found += [f"{name} is not so" for name, value in figures.items() if value is False and name.endswith(("_limit", "_limits"))]
    if figures.get("violations") and not found:
        found.append(f"{figures['violations']} violations")
    if figures.get("errors"):
        found.append(f"{figures['errors']} errors")
    if figures.get("score", 1) < figures.get("limit", 0):
        found.append(f"the score {figures['score']:.2%} is under {figures['limit']:.0%}")
    return found


def main() -> int:
    """Run the proofs; the exit status says whether each held."""
    parser = argparse.ArgumentParser(prog="bench.long", description=__doc__)
    parser.add_argument("names", nargs="*", help="proofs to run; all without")
    parser.add_argument("--kills", type=int, default=100, help="how often the database is killed, some ten seconds apart")
    parser.add_argument("--transactions", type=int, default=growth.TRANSACTIONS, help="stored transactions of `growth`")
    parser.add_argument("--domains", nargs="*", help="domains whose rules are mutated; all without")
    parser.add_argument("--sample", type=int, help="mutants drawn of each domain; all without")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn mutants")
    wanted = parser.parse_args()
    known = proofs(wanted)
    if unknown := [name for name in wanted.names if name not in known]:
        parser.error(f"no such proof: {', '.join(unknown)}; there are: {', '.join(known)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    failed = False
    for name in wanted.names or list(known):
        began = time.monotonic()
        figures = known[name]()
        text = json.dumps({**figures, "seconds": round(time.monotonic() - began, 1)}, indent=2, default=str)
        (RESULTS / f"{name}.json").write_text(text + "\n")
        print(f"{name}\n{text}", flush=True)
        for problem in missed(figures):
            failed = True
            print(f"{name}: {problem}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

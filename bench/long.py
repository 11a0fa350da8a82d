"""`make bench-long`: the long proofs; each writes build/bench/<name>.json and fails under its limit."""

import argparse
import json
import sys

from bench import mutation
from bench.run import RESULTS


def main() -> int:
    """Run the proofs; the exit status says whether each kept its limit."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    parser = argparse.ArgumentParser(prog="bench.long", description=__doc__)
    parser.add_argument("domains", nargs="*", help="domains whose rules are mutated; all without")
    parser.add_argument("--sample", type=int, help="mutants drawn of each domain; all without")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    figures = mutation.measure(wanted.domains or None, sample=wanted.sample, seed=wanted.seed)
    text = json.dumps(figures, indent=2)
    (RESULTS / "mutation.json").write_text(text + "\n")
    print(text)
    if figures["score"] < figures["limit"]:
        print(f"the mutation score {figures['score']:.2%} is under {figures['limit']:.0%}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

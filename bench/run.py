"""`make bench`: run the benchmarks by name, or all, and write build/bench/<name>.json."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import authorization, cards, webhooks

BENCHMARKS: dict[str, Callable[[], dict[str, Any]]] = {
    "authorization": authorization.measure,
    "cards": cards.measure,
    "webhooks": webhooks.measure,
}
RESULTS = Path(__file__).parents[1] / "build" / "bench"


def main() -> int:
    """Run what is named, print and write the figures."""
    names = sys.argv[1:] or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        figures = BENCHMARKS[name]()
        text = json.dumps(figures, indent=2)
        (RESULTS / f"{name}.json").write_text(text + "\n")
        print(f"{name}\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

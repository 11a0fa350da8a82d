"""`make demo`: start a stack of its own, play the story over HTTP, print what happened, stop the stack."""

import json
import os
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Final

import httpx

from local.demo.client import StoryError
from local.demo.story import Story, Summary
from local.home import PROJECT, Home, StackError
from local.processes import supervisor_of
from local.reset import reset
from local.running import RunningStack
from local.servers.errors import ServerError

_FOLDER: Final = PROJECT / "build" / "demo"


def table(summary: Summary) -> str:
    """The purchases as a table, widths fitted."""
    head = ("merchant", "country", "amount", "", "decision", "reason", "ms")
    rows = [
        (one.merchant, one.country, one.amount, one.currency, one.decision, one.reason, f"{one.latency_ms:.1f}")
        for one in summary.decisions
    ]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    right = {2, 6}

    def line(row: tuple[str, ...]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "  " + "  ".join(cells).rstrip()

    return "\n".join([line(head), "  " + "  ".join("-" * width for width in widths), *map(line, rows)])


def write_summary(folder: Path, summary: Summary, start_s: float, total_s: float) -> Path:
    """Write `summary.json` into the folder."""
    path = folder / "summary.json"
    document = {
        "ok": True,
        "start_seconds": round(start_s, 2),
        "total_seconds": round(total_s, 2),
        "steps": [asdict(step) for step in summary.steps],
        "decisions": [asdict(decision) for decision in summary.decisions],
        "events": summary.events,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def clear_away(folder: Path) -> None:
    """Delete stacks of earlier demos that failed or were killed; one that plays right now is left alone."""
    for root in folder.glob("stack-*"):
        if root.is_dir() and supervisor_of(Home(root)) is None:
            reset(Home(root))
            root.with_name(f"{root.name}.log").unlink(missing_ok=True)


def _play(stack: RunningStack, folder: Path) -> None:
    began = time.monotonic()
    print("Starting PostgreSQL, Valkey, the AWS emulator, the simulators and every function ...", flush=True)
    description = stack.start()
    start_s = time.monotonic() - began
    print(f"Everything answers after {start_s:.1f} s at {description['base_url']}\n", flush=True)
    summary = Story(description, lambda line: print(line, flush=True)).play()
    total_s = time.monotonic() - began
    path = write_summary(folder, summary, start_s, total_s)
    events = ", ".join(f"{number} {name}" for name, number in sorted(summary.events.items()))
    print(f"\n{table(summary)}\n\n  webhooks: {events}")
    print(f"  {len(summary.steps)} steps in {total_s - start_s:.1f} s; written to {os.path.relpath(path)}", flush=True)


def main(folder: Path = _FOLDER) -> int:
    """Run the demo; returns the exit status. On failure the stack's folder is kept for a look at its logs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").unlink(missing_ok=True)
    stack = RunningStack(folder / f"stack-{os.getpid()}")
    try:
        clear_away(folder)
        try:
            _play(stack, folder)
        finally:
            stack.stop()
        reset(stack.home)
        stack.log.unlink()
    except (StoryError, StackError, ServerError, httpx.HTTPError) as error:
        print(f"\ndemo failed: {error}\n  logs: {stack.home.root / 'logs'}", file=sys.stderr)
        return 1
    except (KeyError, ValueError, TypeError):
        # An answer without what the contract promises: the line that read it says more than the exception.
        print(f"\ndemo failed: an answer is not as the contract says\n{traceback.format_exc()}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ndemo interrupted; the stack is stopped", file=sys.stderr)
        return 130
    print("The stack is stopped and its data deleted.")
    return 0


if __name__ == "__main__":
    sys.exit(main())

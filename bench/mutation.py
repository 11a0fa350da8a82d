"""Mutation score of the rules: cosmic-ray changes one thing at a time in a copy of the tree, and the rules' tests must notice."""

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).parents[1]
LIMIT = 0.80
PROCESSES = 2
# Tests that need no server; a mutant they miss counts as missed though a database test may catch it.
TESTS: dict[str, tuple[str, ...]] = {
    "authorizations": ("tests/unit/authorizations/test_rules.py", "tests/properties/test_decision.py"),
    "cards": ("tests/unit/cards", "tests/properties/test_card_states.py", "tests/properties/test_card_windows.py"),
    "identity": ("tests/unit/identity/test_identity_rules.py",),
    "kyc": ("tests/unit/kyc/test_kyc_rules.py",),
    "programs": ("tests/unit/programs",),
    "outbox": ("tests/unit/outbox/test_rules.py",),
    "webhooks": ("tests/unit/webhooks/test_rules.py",),
}
_OPTIONS = "-x -q -p no:randomly -p no:cacheprovider -p no:xdist -o addopts= --import-mode=importlib"
_CONFIG = """
[cosmic-ray]
module-path = "{rules}"
timeout = 60.0
excluded-modules = []
test-command = "{python} -m pytest {options} {tests}"

[cosmic-ray.distributor]
name = "local"
"""


def measure(domains: list[str] | None = None, *, sample: int | None = None, seed: int = 1) -> dict[str, Any]:
    """Mutate the rules of the domains, or of all; returns killed and tried mutants by domain, and the score over all.

    With `sample`, that many mutants of each domain are drawn at random by `seed`; without, all are tried.
    """
    with ThreadPoolExecutor(PROCESSES) as pool:
        found = dict(pool.map(lambda domain: _domain(domain, sample, seed), domains or list(TESTS)))
    killed, mutants = sum(one["killed"] for one in found.values()), sum(one["mutants"] for one in found.values())
    score = killed / mutants
    drawn = {"sample": sample, "seed": seed} if sample else {}
    return {"score": round(score, 4), "limit": LIMIT, "killed": killed, "mutants": mutants, **drawn, "domains": found}


def _domain(domain: str, sample: int | None, seed: int) -> tuple[str, dict[str, Any]]:
    with TemporaryDirectory(prefix="cardwright-mutation-") as folder:
        copy = Path(folder) / "tree"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "build", "__pycache__", "cdk.out"))
        tests = [path for path in TESTS[domain] if (copy / path).exists()]
        config, session = copy / "mutation.toml", copy / "mutation.sqlite"
        config.write_text(
            _CONFIG.format(rules=_rules(copy, domain), python=sys.executable, options=_OPTIONS, tests=" ".join(tests))
        )
        variables = {**os.environ, "PYTHONPATH": f"{copy / 'shared'}{os.pathsep}{copy}", "PYTHONDONTWRITEBYTECODE": "1"}
        command = str(Path(sys.executable).parent / "cosmic-ray")
        for verb in (["baseline", str(config)], ["init", str(config), str(session)], ["exec", str(config), str(session)]):
            if verb[0] == "exec" and sample:
                _draw(session, sample, seed)
            subprocess.run([command, *verb], cwd=copy, env=variables, check=True, capture_output=True)
        report = str(Path(sys.executable).parent / "cr-report")
        done = subprocess.run([report, str(session)], cwd=copy, env=variables, check=True, capture_output=True, text=True)
    outcomes = re.findall(r"test outcome: TestOutcome\.(\w+)", done.stdout)
    survivors = re.findall(
        r"^\[job-id\] (\w+)\n(.*\n)worker outcome: [\w.]+, test outcome: TestOutcome\.SURVIVED", done.stdout, re.MULTILINE
    )
    killed = sum(outcome in ("KILLED", "INCOMPETENT") for outcome in outcomes)
    return domain, {"mutants": len(outcomes), "killed": killed, "survivors": [line.strip() for _, line in survivors]}


def _rules(tree: Path, domain: str) -> str:
    """Where a domain's rules stand: a module, or a package once they outgrew it."""
    package = f"shared/cardwright/{domain}/rules"
    return package if (tree / package).is_dir() else f"{package}.py"


def _draw(session: Path, sample: int, seed: int) -> None:
    """Leave a random sample of the mutants in cosmic-ray's session."""
    with closing(sqlite3.connect(session)) as database, database:
        jobs = sorted(row[0] for row in database.execute("SELECT job_id FROM work_items"))
        kept = set(random.Random(seed).sample(jobs, min(sample, len(jobs))))  # noqa: S311 - a sample, not a secret
        left_out = [(job,) for job in jobs if job not in kept]
        database.executemany("DELETE FROM mutation_specs WHERE job_id = ?", left_out)
        database.executemany("DELETE FROM work_items WHERE job_id = ?", left_out)

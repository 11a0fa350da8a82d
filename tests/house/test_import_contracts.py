"""Each import contract is broken on purpose in a copy of the tree, and seen to fail by its name."""

import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.sources import ROOT, files

# Contract (its section in .importlinter) and the import that must not be: file, line added to it.
PLANTS: list[tuple[str, str, str]] = [
    ("rooms", "shared/cardwright/programs/service.py", "import functions.catalogue"),
    ("rooms", "functions/door.py", "import local.clock"),
    ("rooms", "local/clock.py", "import infra"),
    ("synth", "functions/cards/routes.py", "import fastapi"),
    ("synth", "functions/catalogue.py", "import boto3"),
    ("synth", "infra/__init__.py", "import cardwright.platform.postgres"),
    ("no-cdk", "functions/door.py", "import aws_cdk"),
    ("no-cdk", "shared/cardwright/kernel/rows.py", "import constructs"),
    ("layers", "shared/cardwright/programs/service.py", "from cardwright.cards import rules as upwards"),
    ("layers", "shared/cardwright/audit/service.py", "from cardwright.outbox import rules as sibling"),
    ("layers", "shared/cardwright/kernel/money.py", "import cardwright.platform.ids"),
    ("inside", "shared/cardwright/outbox/rules.py", "from cardwright.outbox import ports as upwards"),
    ("inside", "shared/cardwright/programs/store.py", "from cardwright.programs import service as upwards"),
    ("inside", "shared/cardwright/programs/extras.py", '"""A fifth kind of module."""'),
    ("pure", "shared/cardwright/authorizations/rules.py", "import random"),
    ("pure", "shared/cardwright/programs/rules.py", "import cardwright.platform.clock"),
    ("pure", "shared/cardwright/kernel/ids.py", "import os"),
    ("sql", "shared/cardwright/programs/service.py", "import psycopg"),
    ("sql", "functions/authorizations/authorize_transaction.py", "import psycopg"),
    ("vendors", "shared/cardwright/programs/service.py", "import boto3"),
    ("vendors", "functions/operations/healthz.py", "import hiredis"),
    ("providers", "shared/cardwright/http/call.py", "import cardwright.providers"),
    ("providers", "functions/operations/healthz.py", "import cardwright.providers"),
    ("no-http", "shared/cardwright/programs/service.py", "import cardwright.http.problems"),
    ("no-http", "shared/cardwright/cards/rules/states.py", "import starlette"),
    ("strangers", "functions/operations/healthz.py", "import functions.operations.readyz"),
    ("light", "functions/authorizations/authorize_transaction.py", "import functions.door"),
    ("light", "shared/cardwright/kernel/signatures.py", "import cryptography"),
    ("outside", "local/simulators/serving.py", "import cardwright.kernel.secret"),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what the contracts look at."""
    copy = tmp_path_factory.mktemp("house")
    for path in files("shared/cardwright", "functions", "infra", "local", "bench", suffix=".py"):
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    shutil.copyfile(ROOT / ".importlinter", copy / ".importlinter")
    yield copy
    shutil.rmtree(copy)


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """Run lint-imports on the copy, which stands before the installed packages on the path."""
    environment = {**os.environ, "PYTHONPATH": f"{tree / 'shared'}{os.pathsep}{tree}", "COLUMNS": "300"}
    command = [sys.executable, "-c", "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())"]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=120)


def names() -> dict[str, str]:
    """Each contract's name by its section."""
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    prefix = "importlinter:contract:"
    return {section.removeprefix(prefix): config[section]["name"] for section in config.sections() if section.startswith(prefix)}


def test_the_tree_keeps_every_contract(tree: Path) -> None:
    told = lint(tree)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "0 broken" in told.stdout


def test_every_contract_is_broken_on_purpose_below() -> None:
    assert {section for section, _, _ in PLANTS} == set(names())


@pytest.mark.parametrize(("section", "file", "line"), PLANTS)
def test_a_contract_fails_on_a_bad_import(tree: Path, section: str, file: str, line: str) -> None:
    path = tree / file
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        told = lint(tree)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert told.returncode == 1, told.stdout + told.stderr
    assert f"{names()[section]} BROKEN" in told.stdout

"""What decides gets its time, randomness and settings as arguments, and money is never binary floating point."""

import ast
import re

import pytest

from tests.house.sources import RUNTIME, python

ENVIRONMENT_ROOM = "shared/cardwright/compose/"
SOURCES_OF_TIME = ("shared/cardwright/platform/",)
# Calls that read the machine's clock or its entropy.
_IMPURE = re.compile(
    r"(datetime|date)\.(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime)|uuid\.uuid[1-8]|uuid[1-8]|"
    r"(random|secrets)\.\w+|os\.urandom"
)
_MONEY = re.compile(r"\b(Decimal|kernel\.money|amount|Amount)\b")
# Named binary fractions beside money that are no money: (file, text).
_NO_MONEY: set[tuple[str, str]] = set()


def dotted(node: ast.expr) -> str:
    """The dotted name of an expression, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def environment_readers(name: str, text: str) -> list[str]:
    """Uses of os.environ and os.getenv outside compose."""
    if name.startswith(ENVIRONMENT_ROOM):
        return []
    return [
        f"{name}:{node.lineno}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and dotted(node) in ("os.environ", "os.getenv", "os.environb", "os.putenv")
    ]


def impure_calls(name: str, text: str) -> list[str]:
    """Calls that read the clock or entropy outside platform."""
    if name.startswith(SOURCES_OF_TIME):
        return []
    return [
        f"{name}:{node.lineno} {dotted(node.func)}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and _IMPURE.fullmatch(dotted(node.func))
    ]


def floats(name: str, text: str) -> list[str]:
    """The type float and its literals in files that know money; JSON numbers must not become floats on the way in."""
    found = []
    tree = ast.parse(text)
    if _MONEY.search(text):
        for node in ast.walk(tree):
            named = isinstance(node, ast.Name) and node.id == "float"
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            if (named or literal) and (name, ast.unparse(node)) not in _NO_MONEY:
                found.append(f"{name}:{getattr(node, 'lineno', 0)} {ast.unparse(node)}")
    return found


@pytest.mark.parametrize("room", RUNTIME)
def test_the_environment_is_read_in_compose_alone(room: str) -> None:
    assert [found for name, text in python(room) for found in environment_readers(name, text)] == []


@pytest.mark.parametrize("room", RUNTIME)
def test_time_and_randomness_are_injected(room: str) -> None:
    assert [found for name, text in python(room) for found in impure_calls(name, text)] == []


@pytest.mark.parametrize("room", RUNTIME)
def test_no_float_is_near_money(room: str) -> None:
    assert [found for name, text in python(room) for found in floats(name, text)] == []


def test_the_rules_find_planted_violations() -> None:
    service = "shared/cardwright/cards/service.py"
    assert environment_readers(service, "import os\nx = os.environ['A']\n") == [f"{service}:2"]
    assert environment_readers("shared/cardwright/compose/settings.py", "import os\nx = os.environ['A']\n") == []
    assert impure_calls(service, "from datetime import datetime\nx = datetime.now()\n") == [f"{service}:2 datetime.now"]
    assert impure_calls(service, "import uuid\nx = uuid.uuid4()\n") == [f"{service}:2 uuid.uuid4"]
    assert impure_calls(service, "x = uuid4()\n") == [f"{service}:1 uuid4"]
    assert impure_calls("shared/cardwright/platform/clock.py", "x = datetime.now()\n") == []
    assert floats(service, "from decimal import Decimal\nx = float('1')\ny = 0.1\n") == [f"{service}:3 0.1", f"{service}:2 float"]
    assert floats(service, "budget_s = 0.5\n") == []

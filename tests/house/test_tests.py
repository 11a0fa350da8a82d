"""Tests test: each holds an assertion, and none is switched off in silence."""

import ast

from tests.house.sources import functions, python

# Functions that assert for their caller; each must itself be in tests/.
CHECKERS = {"assert_problem", "check", "expect_problem", "refused"}


def without_assertion(name: str, text: str) -> list[str]:
    """Test functions that hold no assert, no pytest.raises or warns, and call no known checker."""
    tree = ast.parse(text)
    asserting = {node.name for node in functions(tree) if _asserts(node)}
    found = []
    for node in functions(tree):
        if node.name.startswith("test_") and not _asserts(node) and not _called(node) & (asserting | CHECKERS):
            found.append(f"{name}:{node.lineno} {node.name}")
    return found


def _asserts(function: ast.AST) -> bool:
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and not (isinstance(node.test, ast.Constant) and node.test.value is True):
            return True
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("pytest.raises", "pytest.warns", "pytest.fail"):
            return True
    return False


def _called(function: ast.AST) -> set[str]:
    names = (ast.unparse(node.func).rpartition(".")[2] for node in ast.walk(function) if isinstance(node, ast.Call))
    return set(names)


def switched_off(name: str, text: str) -> list[str]:
    """Skips and expected failures that give no reason."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        named, reasoned = ast.unparse(node.func), any(keyword.arg == "reason" for keyword in node.keywords)
        if named in ("pytest.skip", "pytest.xfail") and not node.args and not reasoned:
            found.append(f"{name}:{node.lineno}")
        if named.startswith("pytest.mark.") and named.endswith(("skip", "skipif", "xfail")) and not reasoned:
            found.append(f"{name}:{node.lineno}")
    return found


def test_every_test_has_an_assertion() -> None:
    assert [found for name, text in python("tests") for found in without_assertion(name, text)] == []


def test_no_test_is_switched_off_without_a_reason() -> None:
    assert [found for name, text in python("tests") for found in switched_off(name, text)] == []


def test_the_rules_find_planted_violations() -> None:
    assert without_assertion("t.py", "def test_a():\n    run()\n") == ["t.py:1 test_a"]
    assert without_assertion("t.py", "def test_a():\n    assert True\n") == ["t.py:1 test_a"]
    assert without_assertion("t.py", "def test_a():\n    with pytest.raises(ValueError):\n        run()\n") == []
    assert without_assertion("t.py", "def look():\n    assert 1\ndef test_a():\n    look()\n") == []
    assert switched_off("t.py", "@pytest.mark.skip()\ndef test_a():\n    assert x\n") == ["t.py:1"]
    assert switched_off("t.py", "@pytest.mark.skipif(x, reason='no such server here')\ndef test_a():\n    assert x\n") == []

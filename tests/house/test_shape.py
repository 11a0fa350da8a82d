"""The shape of files: small, named for what they hold, documented in one line."""

import ast
import re
from pathlib import PurePosixPath

import pytest

from tests.house.sources import OURS, RUNTIME, functions, python, text_files

MAX_LINES = 400
MAX_FUNCTION = 60
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "shared"}
# Ratchet: files over the limit when the rule came; a figure may only fall, and the entry goes when the file has become short.
LONGER: dict[str, int] = {}


def too_long(name: str, text: str) -> list[str]:
    """Files over the limit, or over what the ratchet still allows them."""
    lines = text.count("\n")
    return [f"{name}: {lines} lines"] if lines > LONGER.get(name, MAX_LINES) else []


def long_functions(name: str, text: str) -> list[str]:
    """Functions over the limit, counted with signature and docstring."""
    found = []
    for node in functions(ast.parse(text)):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if length > MAX_FUNCTION:
            found.append(f"{name}:{node.lineno} {node.name}: {length} lines")
    return found


def vague_name(name: str) -> list[str]:
    """Names that say nothing and so collect everything."""
    path = PurePosixPath(name)
    words = {*path.parts[:-1], path.stem} - {"shared"} if path.parts[0] == "shared" else {*path.parts[:-1], path.stem}
    return [name] if words & VAGUE else []


def undocumented(name: str, text: str) -> list[str]:
    """Modules without a docstring, and public classes and functions without one. Overrides of a protocol's `...` too."""
    tree = ast.parse(text)
    found = [] if ast.get_docstring(tree) else [f"{name}: module"]
    if name.startswith("tests/"):
        return found
    for node in _public(tree.body):
        if ast.get_docstring(node) is None:
            found.append(f"{name}:{node.lineno} {node.name}")
    return found


def _public(body: list[ast.stmt]) -> list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    found: list[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef] = []
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            if not _says_itself(node):
                found.append(node)
            if isinstance(node, ast.ClassDef):
                found += _public(node.body)
    return found


def _says_itself(node: ast.stmt) -> bool:
    """An attribute of a Protocol written as a property, and an overload, hold nothing to tell."""
    body = getattr(node, "body", [])
    only = body[0] if len(body) == 1 else None
    return isinstance(only, ast.Expr) and isinstance(only.value, ast.Constant) and only.value.value is ...


def waived(name: str, text: str) -> list[str]:
    """Rules switched off without a reason, and things put off."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if re.search(r"#\s*(TODO|FIXME|XXX)\b", line):
            found.append(f"{name}:{number} put off")
        waiver = re.search(r"#\s*(type:\s*ignore(\[[^\]]*\])?|noqa(:\s*[A-Z0-9, ]+)?)(.*)$", line)
        if waiver and len(re.findall(r"[A-Za-z]{3,}", waiver.group(4))) < 1:
            found.append(f"{name}:{number} no reason")
    return found


@pytest.mark.parametrize("room", OURS)
def test_files_and_functions_stay_small(room: str) -> None:
    assert [found for name, text in python(room) for found in (*too_long(name, text), *long_functions(name, text))] == []


def test_the_ratchet_of_long_files_is_tight() -> None:
    assert {name for name, text in python("tests") if text.count("\n") > MAX_LINES} == set(LONGER)


def test_no_file_has_a_vague_name() -> None:
    assert [found for name, _ in text_files() for found in vague_name(name)] == []


@pytest.mark.parametrize("room", OURS)
def test_modules_and_public_names_are_documented(room: str) -> None:
    assert [found for name, text in python(room) for found in undocumented(name, text)] == []


@pytest.mark.parametrize("room", OURS)
def test_no_rule_is_waived_without_a_reason(room: str) -> None:
    assert [found for name, text in python(room) for found in waived(name, text)] == []


def test_the_rules_find_planted_violations() -> None:
    body = "\n".join("    x = 1" for _ in range(70))
    assert too_long("a.py", "\n" * 401) == ["a.py: 401 lines"]
    assert long_functions("a.py", f"def f():\n{body}\n") == ["a.py:1 f: 71 lines"]
    assert vague_name("functions/cards/utils.py") == ["functions/cards/utils.py"]
    assert vague_name("shared/cardwright/common/money.py") == ["shared/cardwright/common/money.py"]
    assert vague_name("shared/cardwright/kernel/money.py") == []
    assert undocumented("a.py", "def f():\n    return 1\n") == ["a.py: module", "a.py:1 f"]
    assert undocumented("a.py", '"""M."""\nclass A:\n    """A."""\n    def b(self):\n        return 1\n') == ["a.py:4 b"]
    assert waived("a.py", "x = 1  # no" + "qa: S101\n") == ["a.py:1 no reason"]
    assert waived("a.py", "x = 1  # no" + "qa: S101 - the reason is told\n") == []
    assert waived("a.py", "x = 1  # type" + ": ignore[attr-defined]\n") == ["a.py:1 no reason"]
    assert waived("a.py", "x = 1  # TO" + "DO later\n") == ["a.py:1 put off"]


def test_the_rules_look_at_the_code_that_runs() -> None:
    assert len([name for room in RUNTIME for name, _ in python(room)]) > 50

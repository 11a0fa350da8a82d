"""What gateway and workers share as hosts of functions: finding the catalogue, telling the supervisor they are ready."""

import importlib
import os

from cardwright.kernel.rows import Row


def load_rows(catalogue: str) -> tuple[Row, ...]:
    """The rows named by `module:name`."""
    module, _, name = catalogue.partition(":")
    rows: tuple[Row, ...] = getattr(importlib.import_module(module), name)
    return rows


def tell_ready(descriptor: int | None) -> None:
    """Write one byte to the supervisor's pipe, once; nothing without a pipe."""
    if descriptor is not None:
        os.write(descriptor, b"1")
        os.close(descriptor)

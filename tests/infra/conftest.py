"""The synthesized stages, made once for a whole test run however many processes it has."""

import fcntl

import pytest

from infra import check, packaging, stages
from tests.infra.templates import Templates


@pytest.fixture(scope="session")
def synthesis(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> check.Result:
    """Both stages with cdk-nag, without the libraries of the layer."""
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent
    outdir = shared / "synthesis"
    with (shared / "synthesis.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (outdir / check.REPORT).exists():
            return check.read(outdir)
        return check.synthesize(outdir, layer=packaging.no_layer())


@pytest.fixture(scope="session", params=stages.NAMES)
def templates(request: pytest.FixtureRequest, synthesis: check.Result) -> Templates:
    """Templates of one stage by the stacks' short names."""
    stage = stages.load(request.param, {})
    prefix = f"{stage.prefix}-"
    return Templates(
        stage,
        {name.removeprefix(prefix): template for name, template in synthesis.templates.items() if name.startswith(prefix)},
    )

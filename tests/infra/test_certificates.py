"""The authorities of RDS: without them a deployment stops before it starts, and a laptop still synthesizes."""

from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import assertions

from infra.assembly import require_authorities
from infra.stages import PLACEHOLDER_ACCOUNT


@pytest.mark.parametrize(
    ("account", "present", "errors", "warnings"),
    [("222222222222", False, 1, 0), (PLACEHOLDER_ACCOUNT, False, 0, 1), ("222222222222", True, 0, 0)],
)
def test_missing_authorities_stop_a_deployment(tmp_path: Path, account: str, present: bool, errors: int, warnings: int) -> None:
    stack = cdk.Stack(cdk.App(), "Stack", env=cdk.Environment(account=account, region="eu-west-1"))
    authorities = tmp_path / "rds.pem"
    if present:
        authorities.write_text("-----BEGIN CERTIFICATE-----\n")
    require_authorities(stack, authorities)
    said = assertions.Annotations.from_stack(stack)
    missing = assertions.Match.string_like_regexp("rds.pem is missing")
    assert len(said.find_error("*", missing)) == errors
    assert len(said.find_warning("*", missing)) == warnings

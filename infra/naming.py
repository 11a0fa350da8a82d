"""Names and ARNs that can be told without asking a stack, so that stacks need not export them to each other."""

from cardwright.kernel.rows import Row
from infra.stages import Stage

# Functions are never called but through this alias: SnapStart and provisioned concurrency exist on published versions only.
ALIAS = "live"
API_STAGE = "live"
MAX_FUNCTION_NAME = 64


def function_name(stage: Stage, row: Row) -> str:
    """Name of a row's function. Raises ValueError when Lambda would refuse it."""
    name = f"{stage.prefix}-{row.name.replace('_', '-')}"
    if len(name) > MAX_FUNCTION_NAME:
        raise ValueError(f"{name} has {len(name)} characters, Lambda takes {MAX_FUNCTION_NAME}")
    return name


def alias_arn(stage: Stage, row: Row) -> str:
    """ARN callers of a row's function use."""
    return f"arn:aws:lambda:{stage.region}:{stage.account}:function:{function_name(stage, row)}:{ALIAS}"


def log_group_name(stage: Stage, row: Row) -> str:
    """Where a row's function logs."""
    return f"/aws/lambda/{function_name(stage, row)}"


def pascal(name: str) -> str:
    """`freeze_card` as `FreezeCard`, the form of construct ids."""
    return "".join(part.capitalize() for part in name.replace("-", "_").split("_"))

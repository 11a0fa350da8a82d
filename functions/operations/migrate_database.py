"""Run by the deployment: apply database migrations straight to the cluster."""

from pathlib import Path
from typing import Any

from cardwright.compose import resources
from cardwright.kernel.rows import Capability
from cardwright.platform.migrate import migrate

# In the function's package the migrations lie beside `functions`, as they do in the repository.
MIGRATIONS = Path(__file__).parents[2] / "database" / "migrations"


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Apply what is not applied yet; returns the names. Raises MigrationError, which fails the deployment."""
    return {"applied": migrate(resources.conninfo(Capability.DATABASE_MIGRATOR), MIGRATIONS)}

"""Ways to look into synthesized templates."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from infra.stages import Stage


@dataclass(frozen=True)
class Templates:
    """One stage's settings and templates, and ways to look into them."""

    stage: Stage
    stacks: Mapping[str, dict[str, Any]]

    def resources(self, kind: str | None = None, stack: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """(stack/logical id, resource) of a type, in stacks whose short name begins with `stack`."""
        for name, template in self.stacks.items():
            if not name.startswith(stack):
                continue
            for logical_id, resource in template.get("Resources", {}).items():
                if kind is None or resource["Type"] == kind:
                    yield f"{name}/{logical_id}", resource

    def properties(self, kind: str, stack: str = "") -> list[dict[str, Any]]:
        """Properties of the resources of a type."""
        return [resource.get("Properties", {}) for _, resource in self.resources(kind, stack)]

    def functions(self) -> dict[str, dict[str, Any]]:
        """Catalogue name -> properties of its function."""
        prefix = f"{self.stage.prefix}-"
        return {
            found["FunctionName"].removeprefix(prefix).replace("-", "_"): found
            for found in self.properties("AWS::Lambda::Function")
            if isinstance(found.get("FunctionName"), str)
        }

    def api(self) -> dict[str, Any]:
        """The document of the REST API."""
        (found,) = self.properties("AWS::ApiGateway::RestApi")
        body: dict[str, Any] = found["Body"]
        return body


def canonical(value: object) -> str:
    """A template value as text that can be compared."""
    return json.dumps(value, sort_keys=True)

"""Findings of cdk-nag we accept, each with its reason. Whatever is not here fails the check."""

from collections.abc import Iterable
from dataclasses import dataclass

import aws_cdk as cdk
from constructs import IConstruct

PACK = "AwsSolutions"


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """One finding: the rule, what exactly it found (empty: the rule has one finding only) and why that is right here."""

    rule: str
    reason: str
    found: str = ""

    @property
    def identifier(self) -> str:
        """The form the report prints. The short form of the README silences a finding and drops it from the report as well."""
        detail = f"[{self.found}]" if self.found else ""
        return f"{PACK}::{PACK}-{self.rule}{detail}"


def acknowledge(scope: IConstruct, findings: Iterable[Acknowledged]) -> None:
    """Accept findings on a construct and what is below it."""
    for finding in findings:
        cdk.Validations.of(scope).acknowledge(cdk.Acknowledgment(id=finding.identifier, reason=finding.reason))

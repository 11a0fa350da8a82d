"""`python -m infra.check`: synthesize every stage with cdk-nag; fail on unacknowledged findings and on outgrown stacks."""

import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cardwright.kernel.rows import Row
from functions.catalogue import CATALOGUE
from infra import node, packaging, stages

OUTDIR = packaging.BUILD / "cdk" / "check"
REPORT = "validation-report.json"
# CloudFormation's own limits.
MAX_RESOURCES = 500
MAX_TEMPLATE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding of a rule pack at one construct; `reason` is set when somebody acknowledged it."""

    rule: str
    construct: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a synthesis left behind."""

    outdir: Path
    templates: Mapping[str, dict[str, Any]]
    open_findings: Sequence[Finding]
    acknowledged: Sequence[Finding]
    asked: Sequence[str] = ()


def synthesize(
    outdir: Path, rows: Sequence[Row] = CATALOGUE, *, layer: packaging.Artifact, names: Sequence[str] = stages.NAMES
) -> Result:
    """Synthesize stages, for placeholder accounts, into `outdir`, which is emptied first."""
    node.put_on_path()
    # Not at the top: importing aws_cdk takes seconds and needs Node on PATH.
    import cdk_nag
    from aws_cdk import Validations

    from infra import assembly

    shutil.rmtree(outdir, ignore_errors=True)
    app = assembly.app(outdir)
    for name in names:
        assembly.assemble(app, stages.load(name, {}), rows, layer=layer)
    Validations.of(app).add_plugins(cdk_nag.AwsSolutionsChecks())
    try:
        app.synth()
    except RuntimeError as error:
        if not (outdir / REPORT).exists() or "ValidationFailed" not in str(error):
            raise
    return read(outdir)


def read(outdir: Path) -> Result:
    """Templates and findings of an earlier synthesis."""
    suffix = ".template.json"
    templates = {path.name.removesuffix(suffix): json.loads(path.read_text()) for path in sorted(outdir.glob(f"*{suffix}"))}
    report = json.loads((outdir / REPORT).read_text())
    manifest = json.loads((outdir / "manifest.json").read_text())
    return Result(
        outdir=outdir,
        templates=templates,
        open_findings=_findings(report, "violations"),
        acknowledged=_findings(report, "suppressedViolations"),
        asked=[question["key"] for question in manifest.get("missing", ())],
    )


def _findings(report: Mapping[str, Any], kind: str) -> list[Finding]:
    return [
        Finding(violation["ruleName"], construct["constructPath"], violation.get("reason"))
        for plugin in report["pluginReports"]
        for violation in plugin.get(kind, ())
        for construct in violation["violatingConstructs"]
    ]


def problems(result: Result) -> list[str]:
    """What is wrong with a synthesis, one line each."""
    lines = [f"{found.construct}: {found.rule} is not acknowledged" for found in result.open_findings]
    lines += [f"{question}: synthesis would ask the account" for question in result.asked]
    for name, template in result.templates.items():
        resources = len(template.get("Resources", {}))
        size = len(json.dumps(template))
        if resources >= MAX_RESOURCES:
            lines.append(f"{name}: {resources} resources, CloudFormation takes {MAX_RESOURCES}")
        if size >= MAX_TEMPLATE_BYTES:
            lines.append(f"{name}: a template of {size} bytes, CloudFormation takes {MAX_TEMPLATE_BYTES}")
    return lines


def main() -> int:
    """Print what was found; 0 when nothing has to be done."""
    started = time.monotonic()
    layer = packaging.runtime_layer()
    result = synthesize(OUTDIR, layer=layer)
    wrong = problems(result)
    for line in wrong:
        print(line, file=sys.stderr)
    resources = sum(len(template.get("Resources", {})) for template in result.templates.values())
    print(
        f"{len(result.templates)} stacks, {resources} resources, {len(result.acknowledged)} findings acknowledged, "
        f"{len(wrong)} to mend; layer {layer.path.stat().st_size / 1e6:.0f} MB; {time.monotonic() - started:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

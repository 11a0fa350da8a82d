"""All stacks of a stage, in the order in which they are deployed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aws_cdk as cdk
from aws_cdk import triggers
from constructs import Construct

from cardwright.kernel.rows import Capability, Http, Queue, Row
from infra import packaging
from infra.alarms import AlarmsStack
from infra.api import ApiStack
from infra.data import DataStack
from infra.functions import FunctionsStack, Surroundings
from infra.handles import Platform
from infra.keys import KeysStack
from infra.naming import alias_arn
from infra.network import NetworkStack
from infra.objects import ObjectsStack
from infra.queues import QueuesStack
from infra.secrets import SecretsStack
from infra.stages import PLACEHOLDER_ACCOUNT, Stage

MIGRATIONS = "migrations"
WEBHOOK_SENDER = "send_webhook"
# CDK would tag it, CloudFormation's schema says no.
_UNTAGGED = ["AWS::RDS::DBProxyTargetGroup"]


@dataclass(frozen=True, slots=True)
class Assembled:
    """The stacks of one stage by their short names."""

    stage: Stage
    stacks: Mapping[str, cdk.Stack] = field(default_factory=dict)


def context() -> dict[str, Any]:
    """Settings of CDK itself, from cdk.json: the command line reads them there, and a run without it has to see the same."""
    settings: dict[str, Any] = json.loads((packaging.ROOT / "cdk.json").read_text())
    values: dict[str, Any] = settings["context"]
    return values


def deployed(rows: Sequence[Row]) -> list[Row]:
    """Rows that exist in AWS."""
    return [row for row in rows if not (isinstance(row, Http) and row.local_only)]


def _by_stack(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Functions by stack: what migrates the database stands before the others, which are one stack a domain."""
    stacks: dict[str, list[Row]] = {MIGRATIONS: []}
    for row in rows:
        name = MIGRATIONS if Capability.DATABASE_MIGRATOR in row.needs else row.domain
        stacks.setdefault(name, []).append(row)
    return {name: found for name, found in stacks.items() if found}


def assemble(scope: Construct, stage: Stage, rows: Sequence[Row], *, layer: packaging.Artifact) -> Assembled:
    """Build every stack of a stage into `scope` from the rows of the catalogue."""
    rows = deployed(rows)
    env = cdk.Environment(account=stage.account, region=stage.region)
    keys = KeysStack(scope, stage, env)
    alarms = AlarmsStack(scope, stage, env, keys.storage)
    network = NetworkStack(scope, stage, env, keys.storage)
    secrets = SecretsStack(scope, stage, env, keys.handle.storage)
    objects = ObjectsStack(scope, stage, env, keys.storage)
    data = DataStack(scope, stage, env, network=network, storage_key=keys.storage, alarms=alarms)
    consumers = [row for row in rows if isinstance(row, Queue)]
    queues = QueuesStack(scope, stage, env, rows=consumers, storage_key=keys.storage, alarms=alarms)
    stacks: dict[str, cdk.Stack] = {
        "keys": keys,
        "alarms": alarms,
        "network": network,
        "secrets": secrets,
        "objects": objects,
        "data": data,
        "queues": queues,
    }
    surroundings = Surroundings(
        stage=stage,
        network=network,
        platform=Platform(
            keys=keys.handle,
            secrets=secrets.handles,
            queues=queues.handles,
            exports=objects.exports_handle,
            database=data.database,
            cache=data.cache,
            webhook_sender=_webhook_sender(stage, rows),
        ),
        storage_key=keys.storage,
        alarms=alarms,
        code=packaging.code(),
        layer=layer,
    )
    functions = {
        name: FunctionsStack(scope, name, env, rows=found, surroundings=surroundings) for name, found in _by_stack(rows).items()
    }
    api = ApiStack(scope, stage, env, rows=rows, storage_key=keys.storage, alarms=alarms)
    _run_migrations(functions.get(MIGRATIONS), data)
    for name, stack in functions.items():
        stacks[f"functions-{name}"] = stack
        api.add_stack_dependency(stack)
        if name != MIGRATIONS and MIGRATIONS in functions:
            # New code may rely on the new schema; the old code still runs on it (expand, then contract).
            stack.add_stack_dependency(functions[MIGRATIONS])
    stacks["api"] = api
    _tag(stage, stacks)
    return Assembled(stage, stacks)


def _webhook_sender(stage: Stage, rows: Sequence[Row]) -> str:
    """ARN of the function that posts to subscribers. Raises ValueError when the catalogue has none."""
    for row in rows:
        if row.name == WEBHOOK_SENDER:
            return alias_arn(stage, row)
    raise ValueError(f"no row of the catalogue is called {WEBHOOK_SENDER!r}")


def _run_migrations(stack: FunctionsStack | None, data: DataStack) -> None:
    """Invoke the migrations' functions during deployment, again whenever their code (the migrations lie in it) has changed."""
    if stack is None:
        return
    stack.add_stack_dependency(data)
    require_authorities(stack)
    for function in stack.functions.values():
        triggers.Trigger(stack, "Run", handler=function, timeout=cdk.Duration.minutes(15), execute_on_handler_change=True)


def require_authorities(stack: cdk.Stack, authorities: Path = packaging.CERTIFICATES / "rds.pem") -> None:
    """Say when the authorities of RDS are missing: an error, which stops a deployment, where the account is a real one."""
    if authorities.exists():
        return
    missing = "layers/certificates/rds.pem is missing: migrations will refuse to connect (docs/operations/deploy.md)"
    if stack.account == PLACEHOLDER_ACCOUNT:
        cdk.Annotations.of(stack).add_warning_v2("cardwright:certificates", missing)
    else:
        cdk.Annotations.of(stack).add_error(missing)


def _tag(stage: Stage, stacks: Mapping[str, cdk.Stack]) -> None:
    for name, stack in stacks.items():
        tags = cdk.Tags.of(stack)
        for key, value in (("project", "cardwright"), ("stage", stage.name), ("part", name)):
            tags.add(key, value, exclude_resource_types=_UNTAGGED)


def app(outdir: Path | None = None) -> cdk.App:
    """An app with the settings of cdk.json. With `outdir` it skips the built-in validation, by far the slowest part."""
    return cdk.App(
        context=context(),
        outdir=str(outdir) if outdir else None,
        analytics_reporting=False,
        builtin_cloud_formation_validation=None if outdir is None else False,
    )

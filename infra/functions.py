"""Catalogue row -> Lambda: role, function, published version and alias, log group, alarm, and what starts it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from cardwright.kernel.rows import Capability, Queue, Row, Schedule, Task, Url
from infra import capabilities
from infra.acknowledgements import Acknowledged, acknowledge
from infra.alarms import AlarmsStack, alarm_on
from infra.capabilities import Group, Service
from infra.handles import Platform
from infra.naming import ALIAS, function_name, log_group_name, pascal
from infra.network import NetworkStack, retention
from infra.packaging import Artifact
from infra.stages import Stage

# CloudFormation takes 500 resources a stack; a row makes at most eight.
ROWS_PER_STACK = 60
SECRETS_PORT = 2773


@dataclass(frozen=True, slots=True)
class Finding:
    """A figure that a function tells and that ought not to be above a value (zero) for so many of its periods (of an hour)."""

    name: str
    metric: str
    description: str
    above: float = 0
    period: cdk.Duration = field(default_factory=lambda: cdk.Duration.hours(1))
    periods: int = 1


FINDINGS: Mapping[str, tuple[Finding, ...]] = {
    "compare_processor_cards": (
        Finding(
            "ProcessorFindings", "ProcessorFindingsOpen", "Cards at the processor need a look: GET /admin/processor-findings"
        ),
    ),
    "reconcile_settlement": (
        Finding(
            "SettlementCases",
            "SettlementCasesOpen",
            "Settlement with the processor needs a look: GET /admin/settlement/cases",
        ),
    ),
    "check_ledger": (
        Finding(
            "LedgerDiscrepancies",
            "LedgerDiscrepancies",
            "Postings of the ledger do not hold: the log of check_ledger names them (docs/concepts/ledger.md)",
        ),
    ),
    "reconcile_authorizations": (
        Finding(
            "UnansweredUnreadable",
            "UnansweredUnreadable",
            "Somebody else writes into Valkey: entries of unanswered authorizations that are not ours",
        ),
    ),
    "retry_webhook_deliveries": (
        Finding(
            "WebhooksLate",
            "WebhookOldestEventAgeSeconds",
            "A webhook has been due for over fifteen minutes and nobody attempts it: GET /admin/deliveries",
            above=900,
            period=cdk.Duration.minutes(5),
            periods=2,
        ),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every function of a stage is put into."""

    stage: Stage
    network: NetworkStack
    platform: Platform
    storage_key: kms.IKey
    alarms: AlarmsStack
    code: Artifact
    layer: Artifact


class FunctionsStack(cdk.Stack):
    """Functions of one domain. Stateless: it may be deleted and made again."""

    def __init__(
        self, scope: Construct, name: str, env: cdk.Environment, *, rows: Iterable[Row], surroundings: Surroundings
    ) -> None:
        stage = surroundings.stage
        super().__init__(scope, f"{stage.prefix}-functions-{name}", env=env, description=f"Functions: {name}")
        self._stage = stage
        self._around = surroundings
        acknowledge(
            self, [Acknowledged("L1", "Python 3.13 is the runtime the lock is built for; it changes with the lock, on purpose.")]
        )
        rows = list(rows)
        if len(rows) > ROWS_PER_STACK:
            raise ValueError(f"domain {name} has {len(rows)} functions, a stack takes {ROWS_PER_STACK}: divide the domain")
        self._code = lambda_.Code.from_asset(
            str(surroundings.code.path), asset_hash=surroundings.code.digest, asset_hash_type=cdk.AssetHashType.CUSTOM
        )
        self._layer = lambda_.LayerVersion(
            self,
            "Libraries",
            description="Third-party libraries of the lock",
            code=lambda_.Code.from_asset(
                str(surroundings.layer.path),
                asset_hash=surroundings.layer.digest,
                asset_hash_type=cdk.AssetHashType.CUSTOM,
            ),
            compatible_runtimes=[lambda_.Runtime.PYTHON_3_13],
            compatible_architectures=[lambda_.Architecture.ARM_64],
        )
        # One construct for each group in each stack: the same import twice would be two constructs of one name.
        self._groups = {
            group: ec2.SecurityGroup.from_security_group_id(
                self, f"Group{pascal(group)}", surroundings.network.groups[group].security_group_id, mutable=False
            )
            for group in Group
        }
        self._runtime = self._runtime_policy()
        self.functions = {row.name: self._function(row) for row in rows}

    def _runtime_policy(self) -> iam.ManagedPolicy:
        """What Lambda itself needs of a function's role, and cannot be narrowed to a resource."""
        policy = iam.ManagedPolicy(
            self,
            "Runtime",
            description="Traces, and the network interfaces Lambda makes for a function",
            statements=[
                iam.PolicyStatement(actions=["xray:PutTraceSegments", "xray:PutTelemetryRecords"], resources=["*"]),
                iam.PolicyStatement(
                    actions=[
                        "ec2:CreateNetworkInterface",
                        "ec2:DeleteNetworkInterface",
                        "ec2:DescribeNetworkInterfaces",
                        "ec2:DescribeSubnets",
                        "ec2:AssignPrivateIpAddresses",
                        "ec2:UnassignPrivateIpAddresses",
                    ],
                    resources=["*"],
                ),
                # Lambda makes the interfaces in its own name; code inside a function may not use the same permission.
                iam.PolicyStatement(
                    effect=iam.Effect.DENY,
                    actions=["ec2:*"],
                    resources=["*"],
                    conditions={
                        "ArnLike": {
                            "lambda:SourceFunctionArn": f"arn:aws:lambda:{self._stage.region}:{self._stage.account}:function:*"
                        }
                    },
                ),
            ],
        )
        everywhere = "X-Ray and EC2 know no resource for these actions; what code inside a function could do with EC2 is denied."
        acknowledge(policy, [Acknowledged("IAM5", everywhere, "Resource::*"), Acknowledged("IAM5", everywhere, "Action::ec2:*")])
        return policy

    def _role(self, row: Row, log_group: logs.LogGroup) -> iam.Role:
        stage = self._stage
        streams = f"arn:aws:logs:{stage.region}:{stage.account}:log-group:{log_group_name(stage, row)}:*"
        write = iam.PolicyStatement(actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[streams])
        role = iam.Role(
            self,
            f"{pascal(row.name)}Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=row.summary or row.name,
            managed_policies=[self._runtime],
            inline_policies={
                "needs": iam.PolicyDocument(statements=[write, *capabilities.grants(row, self._around.platform, stage)])
            },
        )
        reason = "Log streams of this function's own log group; their names are made by Lambda."
        acknowledge(role, [Acknowledged("IAM5", reason, f"Resource::{streams}")])
        if row.needs & {Capability.EXPORTS, Capability.EXPORT_LINKS}:
            objects = capabilities.exported_objects(self._around.platform)
            reason = "Each job's file has a name of its own; the bucket holds nothing but such files."
            acknowledge(role, [Acknowledged("IAM5", reason, f"Resource::{objects}")])
        return role

    def _environment(self, row: Row) -> dict[str, str]:
        return {
            **capabilities.variables(row, self._around.platform, self._stage),
            "POWERTOOLS_SERVICE_NAME": row.domain,
            "POWERTOOLS_METRICS_NAMESPACE": "Cardwright",
            "POWERTOOLS_LOG_LEVEL": "INFO",
        }

    def _placement(self, row: Row) -> dict[str, object]:
        """Outside the network when a function needs nothing, else where its needs can be met and no further."""
        groups = capabilities.groups(row.needs)
        if not groups:
            return {}
        network = self._around.network
        if Group.OUTBOUND in groups:
            subnets = network.outbound_subnets
        else:
            subnets = network.egress_subnets if Group.INTERNET in groups else network.app_subnets
        return {
            "vpc": network.vpc,
            "vpc_subnets": ec2.SubnetSelection(subnets=subnets.subnets),
            "security_groups": [self._groups[group] for group in sorted(groups)],
        }

    def _function(self, row: Row) -> lambda_.Function:
        stage = self._stage
        log_group = logs.LogGroup(
            self,
            f"{pascal(row.name)}Logs",
            log_group_name=log_group_name(stage, row),
            encryption_key=self._around.storage_key,
            retention=retention(stage.log_days),
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        snapshot = not isinstance(row, Url | Task)
        # The extension wants a session token that a restored sandbox has not (docs/decisions/0017).
        extension = not snapshot and Service.SECRETS in capabilities.services(row.needs)
        function = lambda_.Function(
            self,
            pascal(row.name),
            function_name=function_name(stage, row),
            description=row.summary,
            code=self._code,
            layers=[self._layer],
            handler=f"{row.module}.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=row.memory_mb,
            timeout=cdk.Duration.seconds(row.timeout_s),
            # The role is complete as it is: a construct that adds to it would hide a grant from the catalogue.
            role=self._role(row, log_group).without_policy_updates(),
            environment=self._environment(row),
            log_group=log_group,
            tracing=lambda_.Tracing.ACTIVE,
            snap_start=lambda_.SnapStartConf.ON_PUBLISHED_VERSIONS if snapshot else None,
            reserved_concurrent_executions=(row.reserved_concurrency or None) if isinstance(row, Url | Task) else None,
            params_and_secrets=self._secrets_extension() if extension else None,
            **self._placement(row),  # type: ignore[arg-type]  # keyword arguments of one call, in one table
        )
        cdk.Annotations.of(function).acknowledge_warning(
            "@aws-cdk/aws-lambda:snapStartRequirePublish", "Every function is published and called through its alias."
        )
        alias = lambda_.Alias(
            self,
            f"{pascal(row.name)}Alias",
            alias_name=ALIAS,
            version=function.current_version,
            provisioned_concurrent_executions=self._provisioned(row),
        )
        self._start(row, alias)
        self._alarm(row, function)
        return function

    def _provisioned(self, row: Row) -> int | None:
        if not isinstance(row, Url) or not row.provisioned_concurrency:
            return None
        return min(row.provisioned_concurrency, self._stage.provisioned_at_most)

    def _secrets_extension(self) -> lambda_.ParamsAndSecretsLayerVersion:
        return lambda_.ParamsAndSecretsLayerVersion.from_version(
            lambda_.ParamsAndSecretsVersions.V1_0_103,
            http_port=SECRETS_PORT,
            # The functions keep values themselves, for a known time; a second cache would add its own to it.
            cache_enabled=False,
            log_level=lambda_.ParamsAndSecretsLogLevel.WARN,
        )

    def _start(self, row: Row, alias: lambda_.Alias) -> None:
        """What starts a row's function besides the API, which names the alias by its ARN."""
        match row:
            case Url():
                alias.add_function_url(auth_type=lambda_.FunctionUrlAuthType.NONE)
            case Queue():
                lambda_.CfnEventSourceMapping(
                    self,
                    f"{pascal(row.name)}Source",
                    function_name=alias.function_arn,
                    event_source_arn=self._around.platform.queues[row.queue].arn,
                    batch_size=row.batch_size,
                    function_response_types=["ReportBatchItemFailures"],
                )
            case Schedule():
                events.Rule(
                    self,
                    f"{pascal(row.name)}Schedule",
                    description=row.summary,
                    schedule=events.Schedule.rate(cdk.Duration.seconds(row.every_s)),
                    # A run that could not start is not repeated: the next one does its work.
                    targets=[targets.LambdaFunction(alias, retry_attempts=0, max_event_age=cdk.Duration.seconds(60))],
                )
                alias.configure_async_invoke(retry_attempts=0, max_event_age=cdk.Duration.seconds(60))
            case _:
                pass

    def _alarm(self, row: Row, function: lambda_.Function) -> None:
        minute = cdk.Duration.minutes(1)
        failures = cloudwatch.MathExpression(
            expression="errors + throttles",
            using_metrics={
                "errors": function.metric_errors(period=minute),
                "throttles": function.metric_throttles(period=minute),
            },
            period=minute,
            label="errors and throttles",
        )
        alarm_on(
            self,
            pascal(row.name),
            self._around.alarms,
            metric=failures,
            above=0,
            periods=1 if isinstance(row, Url) else 3,
            description=f"{row.name} fails or is throttled",
        )
        for found in FINDINGS.get(row.name, ()):
            alarm_on(
                self,
                found.name,
                self._around.alarms,
                metric=cloudwatch.Metric(
                    namespace="Cardwright", metric_name=found.metric, period=found.period, statistic="Maximum"
                ),
                above=found.above,
                periods=found.periods,
                description=found.description,
            )
        if isinstance(row, Url):
            alarm_on(
                self,
                f"{pascal(row.name)}Slow",
                self._around.alarms,
                metric=function.metric_duration(period=minute, statistic="p99"),
                above=500,
                periods=3,
                description=f"One in a hundred calls of {row.name} takes over half a second",
            )

"""The REST API, its stage and domain, and the firewall before it."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from cardwright.kernel.rows import Http, Row, Url
from infra import firewall, rest
from infra.acknowledgements import Acknowledged, acknowledge
from infra.alarms import AlarmsStack, alarm_on
from infra.naming import API_STAGE, alias_arn, pascal
from infra.network import retention
from infra.stages import Stage

# One line for each request: who, what, how it ended, how long; no query string, no header, no body.
_ACCESS_LOG = {
    "request_id": "$context.requestId",
    "time": "$context.requestTime",
    "ip": "$context.identity.sourceIp",
    "method": "$context.httpMethod",
    "route": "$context.resourcePath",
    "status": "$context.status",
    "latency_ms": "$context.responseLatency",
    "integration_ms": "$context.integrationLatency",
    "gateway_answer": "$context.error.responseType",
    "firewall": "$context.waf.status",
}
_PUSH_LOGS = "policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs"


class ApiStack(cdk.Stack):
    """Routes come from the catalogue in one document; functions are named by ARN, so nothing is imported from their stacks."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        env: cdk.Environment,
        *,
        rows: Sequence[Row],
        storage_key: kms.IKey,
        alarms: AlarmsStack,
    ) -> None:
        super().__init__(scope, f"{stage.prefix}-api", env=env, description="REST API, firewall, domain")
        self._stage = stage
        self._key = storage_key
        body = rest.document(stage, rows)
        api = apigateway.CfnRestApi(
            self,
            "Api",
            body=body,
            fail_on_warnings=True,
            endpoint_configuration=apigateway.CfnRestApi.EndpointConfigurationProperty(types=["REGIONAL"]),
            # Only the domain: behind the gateway's own host name the firewall would still stand, but tokens name the domain.
            disable_execute_api_endpoint=True,
        )
        reason = (
            "The functions validate every request against typed models and answer with our problems, which the gateway could not."
        )
        acknowledge(api, [Acknowledged("APIG2", reason)])
        live = self._live(api, body)
        for row in rest.routed(rows):
            self._let_call(api, row)
        self._firewall(rows, live)
        self._domain(api, live)
        self._alarms(alarms)

    def _live(self, api: apigateway.CfnRestApi, body: dict[str, Any]) -> apigateway.CfnStage:
        stage = self._stage
        # A deployment is a snapshot: another document needs another deployment, hence another logical id.
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
        deployment = apigateway.CfnDeployment(self, f"Deployment{digest}", rest_api_id=api.ref)
        group = logs.LogGroup(
            self,
            "AccessLog",
            log_group_name=f"/{stage.prefix}/api",
            encryption_key=self._key,
            retention=retention(stage.log_days),
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        role = iam.Role(
            self,
            "LogsRole",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            description="API Gateway writes its logs, for the whole account",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("service-role/AmazonAPIGatewayPushToCloudWatchLogs")
            ],
        )
        reason = "API Gateway demands these permissions on all log groups of the account before it logs anything."
        acknowledge(role, [Acknowledged("IAM4", reason, f"Policy::arn:<AWS::Partition>:iam::aws:{_PUSH_LOGS}")])
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        account.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
        live = apigateway.CfnStage(
            self,
            "Live",
            rest_api_id=api.ref,
            stage_name=API_STAGE,
            deployment_id=deployment.ref,
            tracing_enabled=True,
            access_log_setting=apigateway.CfnStage.AccessLogSettingProperty(
                destination_arn=group.log_group_arn, format=json.dumps(_ACCESS_LOG)
            ),
            method_settings=[
                apigateway.CfnStage.MethodSettingProperty(
                    http_method="*",
                    resource_path="/*",
                    logging_level="ERROR",
                    # Bodies hold what must not be in a log.
                    data_trace_enabled=False,
                    metrics_enabled=True,
                    throttling_rate_limit=stage.api_requests_per_second,
                    throttling_burst_limit=stage.api_burst,
                )
            ],
        )
        live.add_resource_dependency(account)
        return live

    def _let_call(self, api: apigateway.CfnRestApi, row: Http | Url) -> None:
        """The gateway may call a row's function on its own path only, with any method: OPTIONS comes along."""
        stage = self._stage
        path = "/".join("*" if part.startswith("{") else part for part in row.full_path.split("/"))
        lambda_.CfnPermission(
            self,
            f"{pascal(row.name)}Permission",
            action="lambda:InvokeFunction",
            function_name=alias_arn(stage, row),
            principal="apigateway.amazonaws.com",
            source_arn=f"arn:aws:execute-api:{stage.region}:{stage.account}:{api.ref}/{API_STAGE}/*{path}",
        )

    def _firewall(self, rows: Sequence[Row], live: apigateway.CfnStage) -> None:
        stage = self._stage
        acl = firewall.web_acl(self, stage, rows)
        arn = f"arn:aws:apigateway:{stage.region}::/restapis/{live.rest_api_id}/stages/{API_STAGE}"
        association = waf.CfnWebACLAssociation(self, "FirewallAssociation", resource_arn=arn, web_acl_arn=acl.attr_arn)
        association.add_resource_dependency(live)
        group = logs.LogGroup(
            self,
            "FirewallLog",
            # WAF writes to groups of this prefix only.
            log_group_name=f"aws-waf-logs-{stage.prefix}",
            encryption_key=self._key,
            retention=retention(stage.log_days),
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        waf.CfnLoggingConfiguration(
            self,
            "FirewallLogging",
            resource_arn=acl.attr_arn,
            log_destination_configs=[f"arn:aws:logs:{stage.region}:{stage.account}:log-group:{group.log_group_name}"],
            redacted_fields=firewall.redacted(),
        )

    def _domain(self, api: apigateway.CfnRestApi, live: apigateway.CfnStage) -> None:
        stage = self._stage
        arn = (
            stage.certificate_arn
            or acm.Certificate(
                self, "Certificate", domain_name=stage.domain, validation=acm.CertificateValidation.from_dns()
            ).certificate_arn
        )
        domain = apigateway.CfnDomainName(
            self,
            "Domain",
            domain_name=stage.domain,
            regional_certificate_arn=arn,
            endpoint_configuration=apigateway.CfnDomainName.EndpointConfigurationProperty(types=["REGIONAL"]),
            # Of a regional domain this policy takes TLS 1.3 and 1.2 and nothing older.
            security_policy="TLS_1_2",
        )
        mapping = apigateway.CfnBasePathMapping(self, "Mapping", domain_name=domain.ref, rest_api_id=api.ref, stage=live.ref)
        mapping.add_resource_dependency(live)
        cdk.CfnOutput(
            self, "DomainTarget", value=domain.attr_regional_domain_name, description=f"Where DNS has to send {stage.domain}"
        )

    def _alarms(self, alarms: AlarmsStack) -> None:
        for name, metric, above, statistic, description in (
            ("ApiFailures", "5XXError", 0.01, "Average", "Over one in a hundred requests fails on our side"),
            ("ApiSlow", "Latency", 2000, "p99", "One in a hundred requests takes over two seconds"),
        ):
            alarm_on(
                self,
                name,
                alarms,
                metric=cloudwatch.Metric(
                    namespace="AWS/ApiGateway",
                    metric_name=metric,
                    dimensions_map={"ApiName": self._stage.prefix, "Stage": API_STAGE},
                    period=cdk.Duration.minutes(1),
                    statistic=statistic,
                ),
                above=above,
                periods=5,
                description=description,
            )

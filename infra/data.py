"""Aurora PostgreSQL behind RDS Proxy, and the cache. Stateful. No passwords: every role signs in with an IAM token over TLS."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from constructs import Construct

from infra.acknowledgements import Acknowledged, acknowledge
from infra.alarms import AlarmsStack, alarm_on
from infra.handles import CacheHandle, DatabaseHandle
from infra.network import NetworkStack, retention
from infra.stages import Stage

DATABASE = "cardwright"
# Owns the database and may create roles; migrations run as it.
OWNER = "owner"
# Roles that may come through the proxy, one credential each. The owner may not: migrations go straight to the cluster.
PROXY_ROLES = ("app", "worker", "auditor")
_PARAMETERS = {
    "rds.force_ssl": "1",
    "ssl_min_protocol_version": "TLSv1.2",
    "log_connections": "1",
    "log_disconnections": "1",
    # Statements carry values of people; how long one took is in Performance Insights.
    "log_statement": "ddl",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "idle_in_transaction_session_timeout": "60000",
}


class DataStack(cdk.Stack):
    """The database and the cache, in subnets without a way out."""

    def __init__(
        self,
        scope: Construct,
        stage: Stage,
        env: cdk.Environment,
        *,
        network: NetworkStack,
        storage_key: kms.IKey,
        alarms: AlarmsStack,
    ) -> None:
        super().__init__(
            scope,
            f"{stage.prefix}-data",
            env=env,
            termination_protection=stage.termination_protection,
            description="Database, proxy, cache",
        )
        self._stage = stage
        self._network = network
        self._key = storage_key
        self._alarms = alarms
        cluster, instances = self._cluster()
        proxy = self._proxy(cluster, instances)
        self.database = DatabaseHandle(
            name=DATABASE,
            owner=OWNER,
            proxy_host=proxy.attr_endpoint,
            # IAM knows a proxy by the last part of its ARN.
            proxy_id=cdk.Fn.select(6, cdk.Fn.split(":", proxy.attr_db_proxy_arn)),
            cluster_host=cluster.attr_endpoint_address,
            cluster_id=cluster.attr_db_cluster_resource_id,
        )
        self.cache = self._cache()

    def _cluster(self) -> tuple[rds.CfnDBCluster, list[rds.CfnDBInstance]]:
        stage = self._stage
        name = f"{stage.prefix}-database"
        major = stage.database_version.split(".", maxsplit=1)[0]
        parameters = rds.CfnDBClusterParameterGroup(
            self,
            "Parameters",
            family=f"aurora-postgresql{major}",
            description="TLS only; nothing personal in logs",
            parameters=_PARAMETERS,
        )
        subnets = rds.CfnDBSubnetGroup(
            self,
            "DatabaseSubnets",
            db_subnet_group_description="Data subnets",
            subnet_ids=self._network.data_subnets.subnet_ids,
        )
        log_group = logs.LogGroup(
            self,
            "DatabaseLogs",
            log_group_name=f"/aws/rds/cluster/{name}/postgresql",
            encryption_key=self._key,
            retention=retention(stage.log_days),
            removal_policy=cdk.RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        )
        lowest, highest = stage.database_capacity
        cluster = rds.CfnDBCluster(
            self,
            "Cluster",
            db_cluster_identifier=name,
            engine="aurora-postgresql",
            engine_version=stage.database_version,
            database_name=DATABASE,
            master_username=OWNER,
            master_user_authentication_type="iam-db-auth",
            enable_iam_database_authentication=True,
            storage_encrypted=True,
            kms_key_id=self._key.key_arn,
            deletion_protection=True,
            backup_retention_period=stage.backup_days,
            delete_automated_backups=True,
            copy_tags_to_snapshot=True,
            db_cluster_parameter_group_name=parameters.ref,
            db_subnet_group_name=subnets.ref,
            vpc_security_group_ids=[self._network.cluster_group.security_group_id],
            serverless_v2_scaling_configuration=rds.CfnDBCluster.ServerlessV2ScalingConfigurationProperty(
                min_capacity=lowest, max_capacity=highest
            ),
            enable_cloudwatch_logs_exports=["postgresql"],
        )
        cluster.add_resource_dependency(log_group.node.default_child)  # type: ignore[arg-type]  # the L2's child is its CfnLogGroup
        cluster.apply_removal_policy(cdk.RemovalPolicy.SNAPSHOT)
        acknowledge(
            cluster,
            [Acknowledged("RDS11", "The port hides nothing: security groups let nothing in but the proxy and migrations.")],
        )
        instances = [self._instance(cluster, number) for number in range(1 + stage.database_readers)]
        self._database_alarms(name)
        return cluster, instances

    def _instance(self, cluster: rds.CfnDBCluster, number: int) -> rds.CfnDBInstance:
        return rds.CfnDBInstance(
            self,
            f"Instance{number}",
            engine="aurora-postgresql",
            db_cluster_identifier=cluster.ref,
            db_instance_class="db.serverless",
            publicly_accessible=False,
            auto_minor_version_upgrade=True,
            promotion_tier=min(number, 1),
            enable_performance_insights=True,
            performance_insights_kms_key_id=self._key.key_arn,
            performance_insights_retention_period=7,
        )

    def _proxy(self, cluster: rds.CfnDBCluster, instances: list[rds.CfnDBInstance]) -> rds.CfnDBProxy:
        users = f"arn:aws:rds-db:{self._stage.region}:{self._stage.account}:dbuser:{cluster.attr_db_cluster_resource_id}"
        role = iam.Role(
            self,
            "ProxyRole",
            assumed_by=iam.ServicePrincipal("rds.amazonaws.com"),
            description="RDS Proxy signs in to the cluster as the role its client signed in as",
            inline_policies={
                "connect": iam.PolicyDocument(
                    statements=[
                        iam.PolicyStatement(actions=["rds-db:connect"], resources=[f"{users}/{name}" for name in PROXY_ROLES])
                    ]
                )
            },
        )
        proxy = rds.CfnDBProxy(
            self,
            "Proxy",
            db_proxy_name=f"{self._stage.prefix}-proxy",
            engine_family="POSTGRESQL",
            default_auth_scheme="IAM_AUTH",
            require_tls=True,
            role_arn=role.role_arn,
            vpc_subnet_ids=self._network.data_subnets.subnet_ids,
            vpc_security_group_ids=[self._network.proxy_group.security_group_id],
            idle_client_timeout=1800,
        )
        targets = rds.CfnDBProxyTargetGroup(
            self,
            "ProxyTargets",
            db_proxy_name=proxy.ref,
            target_group_name="default",
            db_cluster_identifiers=[cluster.ref],
            connection_pool_configuration_info=rds.CfnDBProxyTargetGroup.ConnectionPoolConfigurationInfoFormatProperty(
                max_connections_percent=90, max_idle_connections_percent=50, connection_borrow_timeout=3
            ),
        )
        for instance in instances:
            targets.add_resource_dependency(instance)
        alarm_on(
            self,
            "ProxyPinned",
            self._alarms,
            metric=cloudwatch.Metric(
                namespace="AWS/RDS",
                metric_name="DatabaseConnectionsCurrentlySessionPinned",
                dimensions_map={"ProxyName": f"{self._stage.prefix}-proxy"},
                period=cdk.Duration.minutes(5),
                statistic="Average",
            ),
            above=10,
            periods=3,
            description="Connections are pinned: a function uses session state the proxy cannot share",
        )
        return proxy

    def _database_alarms(self, name: str) -> None:
        for metric, above, description in (
            ("ACUUtilization", 90, "The database is near its largest capacity"),
            ("Deadlocks", 1, "Transactions lock each other"),
        ):
            alarm_on(
                self,
                f"Database{metric}",
                self._alarms,
                metric=cloudwatch.Metric(
                    namespace="AWS/RDS",
                    metric_name=metric,
                    dimensions_map={"DBClusterIdentifier": name},
                    period=cdk.Duration.minutes(5),
                    statistic="Average",
                ),
                above=above,
                periods=2,
                description=description,
            )

    def _cache(self) -> CacheHandle:
        stage = self._stage
        name = f"{stage.prefix}-cache"
        user = elasticache.CfnUser(
            self,
            "CacheUser",
            engine="valkey",
            # IAM authentication asks for a name equal to the id.
            user_id=f"{stage.prefix}-functions",
            user_name=f"{stage.prefix}-functions",
            access_string="on ~* resetchannels +@all -@admin -@dangerous",
            authentication_mode={"Type": "iam"},
        )
        group = elasticache.CfnUserGroup(
            self, "CacheUsers", engine="valkey", user_group_id=f"{stage.prefix}-users", user_ids=[user.ref]
        )
        cache = elasticache.CfnServerlessCache(
            self,
            "Cache",
            engine="valkey",
            major_engine_version="8",
            serverless_cache_name=name,
            kms_key_id=self._key.key_arn,
            subnet_ids=self._network.data_subnets.subnet_ids,
            security_group_ids=[self._network.cache_group.security_group_id],
            user_group_id=group.ref,
            # Everything in it can be had from the database again: it is never restored, so it is never saved.
            snapshot_retention_limit=0,
            cache_usage_limits=elasticache.CfnServerlessCache.CacheUsageLimitsProperty(
                data_storage=elasticache.CfnServerlessCache.DataStorageProperty(maximum=stage.cache_storage_gb, unit="GB"),
                ecpu_per_second=elasticache.CfnServerlessCache.ECPUPerSecondProperty(maximum=stage.cache_ecpu_per_second),
            ),
        )
        return CacheHandle(
            name=name,
            host=cache.attr_endpoint_address,
            port=cache.attr_endpoint_port,
            arn=cache.attr_arn,
            user=f"{stage.prefix}-functions",
            user_arn=f"arn:aws:elasticache:{stage.region}:{stage.account}:user:{stage.prefix}-functions",
        )

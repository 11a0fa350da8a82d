"""Functions are what their rows say: variables, grants, how they start, what watches them."""

from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from cardwright.compose import resources
from cardwright.kernel import environment
from cardwright.kernel.rows import Capability, Http, Queue, Row, Schedule, Task, Url
from functions.catalogue import CATALOGUE
from infra import capabilities, packaging
from tests.infra.templates import Templates, canonical

# A word each capability's grants carry in their resources or actions, and no other capability's do.
MARKS = {
    Capability.DATABASE_APP: ("rds-db:connect", '/app"'),
    Capability.DATABASE_WORKER: ("rds-db:connect", '/worker"'),
    Capability.DATABASE_MIGRATOR: ("rds-db:connect", '/owner"'),
    Capability.CACHE: ("elasticache:Connect", ""),
    Capability.VAULT_KEY: ("kms:GenerateDataKey", "GetAttVault"),
    Capability.VAULT_DECRYPT: ("kms:Decrypt", "GetAttVault"),
    Capability.USER_KEY: ("kms:GenerateDataKey", "GetAttUser"),
    Capability.MAC_KEY: ("kms:GenerateMac", "GetAttMac"),
    Capability.SIGNING_KEY: ("kms:Sign", "GetAttSigning"),
    Capability.SEALING_SECRET: ("secretsmanager:GetSecretValue", "RefSealing"),
    Capability.PROCESSOR: ("secretsmanager:GetSecretValue", "RefProcessorApi"),
    Capability.PROCESSOR_INBOUND: ("secretsmanager:GetSecretValue", "RefProcessorInbound"),
    Capability.KYC: ("secretsmanager:GetSecretValue", "RefKycApi"),
    Capability.KYC_INBOUND: ("secretsmanager:GetSecretValue", "RefKycInbound"),
    Capability.MESSAGES_INBOUND: ("secretsmanager:GetSecretValue", "RefMessagesInbound"),
    Capability.MESSAGES: ("ses:SendEmail", ":identity/"),
    Capability.EVENT_QUEUE: ("sqs:SendMessage", ""),
    Capability.EXPORTS: ("s3:PutObject", "-exports-"),
    Capability.DEAD_LETTERS: ("sqs:StartMessageMoveTask", ""),
    Capability.WEBHOOK_SENDER: ("lambda:InvokeFunction", "-send-webhook:live"),
}
DEPLOYED = [row for row in CATALOGUE if not (isinstance(row, Http) and row.local_only)]


def _statements(templates: Templates, row: Row) -> list[dict[str, Any]]:
    function = templates.functions()[row.name]
    role = function["Role"]["Fn::GetAtt"][0]
    stack = "functions-migrations" if Capability.DATABASE_MIGRATOR in row.needs else f"functions-{row.domain}"
    properties = templates.stacks[stack]["Resources"][role]["Properties"]
    found: list[dict[str, Any]] = [
        statement for policy in properties["Policies"] for statement in policy["PolicyDocument"]["Statement"]
    ]
    return found


def _grants(statement: dict[str, Any], action: str, resource: str) -> bool:
    return action in _listed(statement["Action"]) and resource in canonical(statement["Resource"])


def _listed(actions: str | list[str]) -> list[str]:
    return actions if isinstance(actions, list) else [actions]


def _exports(templates: Templates) -> str:
    return f"{templates.stage.prefix}-exports-{templates.stage.account}-{templates.stage.region}"


def test_every_row_is_a_function_and_the_reverse(templates: Templates) -> None:
    assert set(templates.functions()) == {row.name for row in DEPLOYED}


def test_functions_are_as_their_rows_say(templates: Templates) -> None:
    for row in DEPLOYED:
        function = templates.functions()[row.name]
        assert function["Handler"] == f"{row.module}.handler"
        assert (function["Timeout"], function["MemorySize"]) == (row.timeout_s, row.memory_mb)
        assert (function["Runtime"], function["Architectures"]) == ("python3.13", ["arm64"])
        assert function["TracingConfig"] == {"Mode": "Active"}


def test_every_variable_of_a_capability_is_set(templates: Templates) -> None:
    for row in DEPLOYED:
        variables = set(templates.functions()[row.name]["Environment"]["Variables"])
        named = {name for need in row.needs for name in environment.VARIABLES[need]}
        assert set(environment.ALWAYS) | named <= variables
        ours = {name for name in variables if name.startswith("CARDWRIGHT_")}
        assert ours == set(environment.ALWAYS) | named


def _known_later(value: object) -> str:
    """A value with the parts that are known at deployment only replaced by a stand-in."""
    if isinstance(value, str):
        return value
    assert isinstance(value, dict)
    (parts,) = [parts for _, parts in value.values()] if "Fn::Join" in value else [[{}]]
    return "".join(part if isinstance(part, str) else "later.example" for part in parts)


@pytest.mark.parametrize(
    ("name", "needs", "user", "authorities"),
    [
        ("authorize_transaction", Capability.DATABASE_APP, "app", capabilities.PROXY_AUTHORITIES),
        ("relay_events", Capability.DATABASE_WORKER, "worker", capabilities.PROXY_AUTHORITIES),
        ("migrate_database", Capability.DATABASE_MIGRATOR, "owner", capabilities.CLUSTER_AUTHORITIES),
    ],
)
def test_functions_make_a_verified_connection_of_their_address(
    name: str,
    needs: Capability,
    user: str,
    authorities: str,
    templates: Templates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (variable,) = environment.VARIABLES[needs]
    monkeypatch.setenv(variable, _known_later(templates.functions()[name]["Environment"]["Variables"][variable]))
    monkeypatch.setenv("AWS_REGION", templates.stage.region)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-key")
    said = conninfo_to_dict(resources.conninfo(needs))
    assert (said["user"], said["host"], said["dbname"]) == (user, "later.example", "cardwright")
    assert (said["sslmode"], said["sslrootcert"]) == ("verify-full", authorities)
    assert "X-Amz-Signature" in str(said["password"])


def test_no_variable_holds_a_secret_or_names_the_laptop(templates: Templates) -> None:
    for function in templates.functions().values():
        variables = canonical(function["Environment"]["Variables"])
        assert "password" not in variables
        assert "resolve:secretsmanager" not in variables
        assert environment.CLOCK_FILE not in variables


@pytest.mark.parametrize("row", DEPLOYED, ids=lambda row: row.name)
def test_grants_match_needs_both_ways(templates: Templates, row: Row) -> None:
    statements = _statements(templates, row)
    for capability, (action, resource) in MARKS.items():
        granted = any(_grants(statement, action, resource) for statement in statements)
        # Who gives dead letters back sends to the queues as well.
        also = capability is Capability.EVENT_QUEUE and Capability.DEAD_LETTERS in row.needs
        assert granted == (capability in row.needs or also), capability
    assert not any(_grants(statement, "kms:Encrypt", "GetAttVault") for statement in statements)
    public = Capability.SIGNING_KEY in row.needs or Capability.SIGNING_PUBLIC_KEY in row.needs
    assert any(_grants(statement, "kms:GetPublicKey", "") for statement in statements) == public


def test_no_grant_is_wider_than_one_resource(templates: Templates) -> None:
    for row in DEPLOYED:
        for statement in _statements(templates, row):
            assert statement["Effect"] == "Allow"
            assert statement["Resource"] != "*"
            assert "*" not in canonical(statement["Action"])
            if statement["Resource"] == f"arn:aws:s3:::{_exports(templates)}/transactions/*":
                # Files of jobs, each under a name of its own: what may be done with them, and with nothing else there is.
                assert {*_listed(statement["Action"])} <= {"s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"}
            elif "logs:PutLogEvents" not in statement["Action"]:
                assert "*" not in canonical(statement["Resource"])


def test_who_posts_to_strangers_may_do_nothing_but_write_its_log(templates: Templates) -> None:
    (row,) = [row for row in DEPLOYED if Capability.INTERNET in row.needs]
    assert (row.name, row.needs) == ("send_webhook", frozenset({Capability.INTERNET}))
    (log,) = _statements(templates, row)
    assert set(_listed(log["Action"])) == {"logs:CreateLogStream", "logs:PutLogEvents"}
    ours = {name for name in templates.functions()[row.name]["Environment"]["Variables"] if name.startswith("CARDWRIGHT_")}
    assert ours == set(environment.ALWAYS)


def test_events_and_notifications_are_sent_to_by_who_relays_them(templates: Templates) -> None:
    (row,) = [row for row in DEPLOYED if Capability.EVENT_QUEUE in row.needs]
    (sending,) = [found for found in _statements(templates, row) if "sqs:SendMessage" in _listed(found["Action"])]
    assert len(sending["Resource"]) == 2
    variables = templates.functions()[row.name]["Environment"]["Variables"]
    urls = [canonical(variables[name]) for name in environment.VARIABLES[Capability.EVENT_QUEUE]]
    assert ["Events" in url for url in urls] == [True, False]
    assert ["Notifications" in url for url in urls] == [False, True]


def test_one_function_alone_may_read_a_card_number() -> None:
    assert [row.name for row in CATALOGUE if Capability.VAULT_DECRYPT in row.needs] == ["reencrypt_card_numbers"]


def test_one_function_writes_exports_and_one_other_hands_them_out(templates: Templates) -> None:
    reading = [
        row.name for row in DEPLOYED if any(_grants(found, "s3:GetObject", "-exports-") for found in _statements(templates, row))
    ]
    writing = [
        row.name for row in DEPLOYED if any(_grants(found, "s3:PutObject", "-exports-") for found in _statements(templates, row))
    ]
    assert (sorted(reading), writing) == (["get_transaction_export", "run_transaction_exports"], ["run_transaction_exports"])


def test_consumers_report_single_failures(templates: Templates) -> None:
    sources = templates.properties("AWS::Lambda::EventSourceMapping")
    assert len(sources) == len([row for row in DEPLOYED if isinstance(row, Queue)])
    assert all(source["FunctionResponseTypes"] == ["ReportBatchItemFailures"] for source in sources)


def test_messages_stay_hidden_six_times_as_long_as_their_consumer_runs(templates: Templates) -> None:
    queues = {found["QueueName"]: found for found in templates.properties("AWS::SQS::Queue")}
    for row in DEPLOYED:
        if isinstance(row, Queue):
            queue = queues[f"{templates.stage.prefix}-{row.queue}"]
            assert queue["VisibilityTimeout"] >= 6 * row.timeout_s
            assert queue["RedrivePolicy"]["maxReceiveCount"] == row.max_receives


def test_schedules_start_the_alias(templates: Templates) -> None:
    rules = templates.properties("AWS::Events::Rule")
    assert len(rules) == len([row for row in DEPLOYED if isinstance(row, Schedule)])
    assert all("Alias" in canonical(rule["Targets"]) for rule in rules)


def test_snapshots_and_provisioned_concurrency_exclude_each_other(templates: Templates) -> None:
    for row in DEPLOYED:
        function = templates.functions()[row.name]
        if isinstance(row, Url | Task):
            assert "SnapStart" not in function
        else:
            assert function["SnapStart"] == {"ApplyOn": "PublishedVersions"}
        reserved = row.reserved_concurrency if isinstance(row, Url | Task) else 0
        assert function.get("ReservedConcurrentExecutions") == (reserved or None)
    (url,) = templates.properties("AWS::Lambda::Url")
    assert "Alias" in canonical(url["TargetFunctionArn"]) or url["Qualifier"] == "live"
    provisioned = [alias for alias in templates.properties("AWS::Lambda::Alias") if "ProvisionedConcurrencyConfig" in alias]
    assert len(provisioned) == len([row for row in DEPLOYED if isinstance(row, Url)])


def test_the_extension_stands_where_a_session_token_is(templates: Templates) -> None:
    with_extension = set()
    for row in DEPLOYED:
        function = templates.functions()[row.name]
        used = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT" in function["Environment"]["Variables"]
        assert any("Parameters-and-Secrets" in str(layer) for layer in function["Layers"]) == used
        assert not (used and "SnapStart" in function), row.name
        if used:
            with_extension.add(row.name)
    assert with_extension == {"authorize_transaction"}


def _depends_on(name: str, resource: dict[str, Any], others: set[str]) -> bool:
    declared = resource.get("DependsOn", [])
    named = {declared} if isinstance(declared, str) else set(declared)
    referred = {other for other in others if f'{{"Ref": "{other}"}}' in canonical(resource["Properties"])}
    return bool((named | referred) & others - {name})


def test_what_names_an_alias_waits_for_it(templates: Templates) -> None:
    aliases = {name.split("/")[1] for name, _ in templates.resources("AWS::Lambda::Alias")}
    checked = set()
    for name, resource in templates.resources(stack="functions-"):
        if "Qualifier" in resource.get("Properties", {}):
            checked.add(resource["Type"])
            assert _depends_on(name, resource, aliases), name
    assert "AWS::Lambda::EventInvokeConfig" in checked


def test_every_function_and_queue_has_an_alarm(templates: Templates) -> None:
    alarms = templates.properties("AWS::CloudWatch::Alarm")
    assert all(alarm["AlarmActions"] and alarm["OKActions"] for alarm in alarms)
    described = " ".join(alarm["AlarmDescription"] for alarm in alarms)
    for row in DEPLOYED:
        assert f"{row.name} fails or is throttled" in described
        if isinstance(row, Queue):
            assert f"Messages of queue {row.queue} failed" in described


def test_webhooks_that_wait_too_long_are_told_of(templates: Templates) -> None:
    (alarm,) = [
        found
        for found in templates.properties("AWS::CloudWatch::Alarm")
        if found.get("MetricName") == "WebhookOldestEventAgeSeconds"
    ]
    assert (alarm["Threshold"], alarm["Period"], alarm["EvaluationPeriods"]) == (900, 300, 2)
    assert (alarm["Namespace"], alarm["Statistic"]) == ("Cardwright", "Maximum")


def test_the_account_has_room_for_what_is_reserved(templates: Templates) -> None:
    reserved = sum(found.get("ReservedConcurrentExecutions", 0) for found in templates.functions().values())
    # Lambda keeps 100 executions for functions without a reservation; deploy.md names the quota that takes.
    said = f"over {reserved + 100} "
    assert said in (packaging.ROOT / "docs" / "operations" / "deploy.md").read_text()


def test_logs_are_encrypted_and_end(templates: Templates) -> None:
    groups = templates.properties("AWS::Logs::LogGroup")
    assert all(group["RetentionInDays"] == templates.stage.log_days and "KmsKeyId" in group for group in groups)
    names = {group["LogGroupName"] for group in groups}
    assert {f"/aws/lambda/{function['FunctionName']}" for function in templates.functions().values()} <= names


def test_the_deployment_runs_the_migrations(templates: Templates) -> None:
    (trigger,) = templates.properties("Custom::Trigger")
    assert "MigrateDatabaseCurrentVersion" in canonical(trigger["HandlerArn"])
    assert trigger["ExecuteOnHandlerChange"] is True
    assert templates.functions()["migrate_database"]["Timeout"] <= 900

"""The firewall before the API: AWS's common rules, a ceiling on bodies, a ceiling on requests of one address."""

from collections.abc import Iterable, Sequence

from aws_cdk import aws_wafv2 as waf
from constructs import Construct

from cardwright.kernel.rows import Audience, Http, Row, Url
from infra.rest import problem, routed
from infra.stages import Stage

# Rules of the common set that refuse what this API has to take; they count instead, and the functions decide.
COUNT_ONLY = {
    "SizeRestrictions_BODY": "refuses every body over 8 KB; ours may have 256 KiB, and 2 MiB in a batch",
    "NoUserAgent_HEADER": "processors and webhook senders are machines that often send none",
    "GenericRFI_BODY": "sees an attack in any URL with an address in it; a webhook subscription is refused by us, with a reason",
    "EC2MetaDataSSRF_BODY": "as above: the URL rules of webhooks answer 422 and say why",
}
_TOO_LARGE = (413, "payload_too_large", "Payload too large", "The body is over what this path takes.")
_TOO_MANY = (429, "rate_limited", "Too many requests", "Too many requests from this address; try again later.")
# A body template has no variables, and a firewall's answer no id: the access log's line carries the firewall's verdict.
_NO_REQUEST_ID = "unknown"
MAX_REGEX = 512
CREDENTIALS = ("authorization", "cookie", "webhook-signature")


def over(limit: int) -> str:
    """A regular expression for decimal numbers over `limit`, leading zeros allowed, for Content-Length.

    A number is over when it has more digits, or the same beginning and then a larger digit.
    """
    digits = str(limit)
    choices = [f"[1-9][0-9]{{{len(digits)},}}"]
    for place, digit in enumerate(digits):
        if digit == "9":
            continue
        rest = len(digits) - place - 1
        larger = "9" if digit == "8" else f"[{int(digit) + 1}-9]"
        choices.append(digits[:place] + larger + (f"[0-9]{{{rest}}}" if rest else ""))
    expression = f"^0*({'|'.join(choices)})$"
    if len(expression) > MAX_REGEX:
        raise ValueError(f"the expression for {limit} has {len(expression)} characters")
    return expression


def _plain() -> list[waf.CfnWebACL.TextTransformationProperty]:
    return [waf.CfnWebACL.TextTransformationProperty(priority=0, type="NONE")]


def _longer_than(limit: int) -> waf.CfnWebACL.StatementProperty:
    """A request that says its body is over `limit` bytes: the body itself is inspected up to 64 KB only."""
    return waf.CfnWebACL.StatementProperty(
        regex_match_statement=waf.CfnWebACL.RegexMatchStatementProperty(
            field_to_match=waf.CfnWebACL.FieldToMatchProperty(single_header={"Name": "content-length"}),
            regex_string=over(limit),
            text_transformations=_plain(),
        )
    )


def _path_ends_with(path: str) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(
        byte_match_statement=waf.CfnWebACL.ByteMatchStatementProperty(
            field_to_match=waf.CfnWebACL.FieldToMatchProperty(uri_path={}),
            positional_constraint="ENDS_WITH",
            search_string=path,
            text_transformations=_plain(),
        )
    )


def _not(statement: waf.CfnWebACL.StatementProperty) -> waf.CfnWebACL.StatementProperty:
    return waf.CfnWebACL.StatementProperty(not_statement=waf.CfnWebACL.NotStatementProperty(statement=statement))


def _all(statements: Sequence[waf.CfnWebACL.StatementProperty]) -> waf.CfnWebACL.StatementProperty:
    if len(statements) == 1:
        return statements[0]
    return waf.CfnWebACL.StatementProperty(and_statement=waf.CfnWebACL.AndStatementProperty(statements=list(statements)))


def _seen(name: str) -> waf.CfnWebACL.VisibilityConfigProperty:
    return waf.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )


def _refuse(status: int, body: str, headers: dict[str, str] | None = None) -> waf.CfnWebACL.RuleActionProperty:
    """Refuse with a problem. Its media type stays application/json: WAF lets nobody set Content-Type."""
    custom = [waf.CfnWebACL.CustomHTTPHeaderProperty(name=name, value=value) for name, value in (headers or {}).items()]
    return waf.CfnWebACL.RuleActionProperty(
        block=waf.CfnWebACL.BlockActionProperty(
            custom_response=waf.CfnWebACL.CustomResponseProperty(
                response_code=status, custom_response_body_key=body, response_headers=custom or None
            )
        )
    )


def _common_rules(priority: int) -> waf.CfnWebACL.RuleProperty:
    counted = [
        waf.CfnWebACL.RuleActionOverrideProperty(
            name=name, action_to_use=waf.CfnWebACL.RuleActionProperty(count=waf.CfnWebACL.CountActionProperty())
        )
        for name in COUNT_ONLY
    ]
    return waf.CfnWebACL.RuleProperty(
        name="common",
        priority=priority,
        override_action=waf.CfnWebACL.OverrideActionProperty(none={}),
        statement=waf.CfnWebACL.StatementProperty(
            managed_rule_group_statement=waf.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS", name="AWSManagedRulesCommonRuleSet", rule_action_overrides=counted
            )
        ),
        visibility_config=_seen("common"),
    )


def _size_rules(rows: Sequence[Http | Url], priority: int) -> list[waf.CfnWebACL.RuleProperty]:
    """One rule for the usual limit, without the paths that take more, and one for each larger limit."""
    usual = min(row.body_limit for row in rows)
    larger: dict[int, list[str]] = {}
    for row in rows:
        if row.body_limit > usual:
            larger.setdefault(row.body_limit, []).append(row.full_path)
    exempt = [_not(_path_ends_with(path)) for paths in larger.values() for path in paths]
    statements = {"body-size": _all([_longer_than(usual), *exempt])}
    for limit in sorted(larger):
        above_all = limit == max(larger)
        others = [_not(_path_ends_with(path)) for other in larger if other > limit for path in larger[other]]
        statements[f"body-size-{limit}"] = _longer_than(limit) if above_all else _all([_longer_than(limit), *others])
    return [
        waf.CfnWebACL.RuleProperty(
            name=name,
            priority=priority + number,
            action=_refuse(413, "too-large"),
            statement=statement,
            visibility_config=_seen(name),
        )
        for number, (name, statement) in enumerate(statements.items())
    ]


def _rate_rule(stage: Stage, rows: Sequence[Http | Url], priority: int) -> waf.CfnWebACL.RuleProperty:
    """The outer, coarse guard: exact quotas are the functions'. Signed traffic comes from few addresses and is left out."""
    machines = [row for row in rows if isinstance(row, Url) or row.audience is Audience.SIGNED]
    return waf.CfnWebACL.RuleProperty(
        name="rate",
        priority=priority,
        action=_refuse(429, "too-many", {"Retry-After": "60"}),
        statement=waf.CfnWebACL.StatementProperty(
            rate_based_statement=waf.CfnWebACL.RateBasedStatementProperty(
                aggregate_key_type="IP",
                limit=stage.requests_per_minute_and_address,
                evaluation_window_sec=60,
                scope_down_statement=_all([_not(_path_ends_with(row.full_path)) for row in machines]) if machines else None,
            )
        ),
        visibility_config=_seen("rate"),
    )


def redacted() -> list[waf.CfnLoggingConfiguration.FieldToMatchProperty]:
    """What the firewall's log may not hold."""
    headers = [waf.CfnLoggingConfiguration.FieldToMatchProperty(single_header={"Name": name}) for name in CREDENTIALS]
    return [*headers, waf.CfnLoggingConfiguration.FieldToMatchProperty(query_string={})]


def _protected() -> waf.CfnWebACL.DataProtectionConfigProperty:
    """The same for everything else that sees requests: samples, and what rules say they matched."""
    fields = (
        waf.CfnWebACL.FieldToProtectProperty(field_type="SINGLE_HEADER", field_keys=list(CREDENTIALS)),
        waf.CfnWebACL.FieldToProtectProperty(field_type="QUERY_STRING"),
        waf.CfnWebACL.FieldToProtectProperty(field_type="BODY"),
    )
    return waf.CfnWebACL.DataProtectionConfigProperty(
        data_protections=[waf.CfnWebACL.DataProtectProperty(action="SUBSTITUTION", field=field) for field in fields]
    )


def web_acl(scope: Construct, stage: Stage, rows: Iterable[Row]) -> waf.CfnWebACL:
    """The firewall for one stage's API."""
    doors = routed(rows)
    sizes = _size_rules(doors, priority=10)
    bodies = {"too-large": _TOO_LARGE, "too-many": _TOO_MANY}
    return waf.CfnWebACL(
        scope,
        "Firewall",
        name=stage.prefix,
        scope="REGIONAL",
        default_action=waf.CfnWebACL.DefaultActionProperty(allow=waf.CfnWebACL.AllowActionProperty()),
        visibility_config=_seen(stage.prefix),
        data_protection_config=_protected(),
        custom_response_bodies={
            key: waf.CfnWebACL.CustomResponseBodyProperty(
                content_type="APPLICATION_JSON", content=problem(answer, _NO_REQUEST_ID)
            )
            for key, answer in bodies.items()
        },
        rules=[_rate_rule(stage, doors, priority=0), *sizes, _common_rules(priority=50)],
    )

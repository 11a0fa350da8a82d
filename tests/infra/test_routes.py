"""The API's routes are the catalogue's, and its own answers are problems."""

import json

import pytest

from cardwright.kernel.rows import Audience, Http, Url
from functions.catalogue import CATALOGUE
from infra import naming, rest, stages
from tests.infra.templates import Templates, canonical

ROUTED = [row for row in CATALOGUE if isinstance(row, Url) or (isinstance(row, Http) and not row.local_only)]
METHODS = {"get", "post", "put", "patch", "delete"}


def test_routes_are_the_catalogue_both_ways(templates: Templates) -> None:
    deployed = {
        (method.upper(), path): operation["x-amazon-apigateway-integration"]["uri"]
        for path, operations in templates.api()["paths"].items()
        for method, operation in operations.items()
        if method in METHODS
    }
    expected = {
        (rest.method_of(row), row.full_path): f"functions/{naming.alias_arn(templates.stage, row)}/invocations" for row in ROUTED
    }
    assert set(deployed) == set(expected)
    assert all(deployed[route].endswith(uri) for route, uri in expected.items())


def test_every_route_leads_to_an_alias_that_exists(templates: Templates) -> None:
    aliases = [properties for properties in templates.properties("AWS::Lambda::Alias") if properties["Name"] == naming.ALIAS]
    functions = templates.functions()
    assert {row.name for row in ROUTED} <= set(functions)
    assert len(aliases) == len(functions)


def test_the_gateway_may_call_each_function_on_its_path_only(templates: Templates) -> None:
    allowed = {
        found["FunctionName"]: found["SourceArn"]["Fn::Join"][1][-1]
        for found in templates.properties("AWS::Lambda::Permission", "api")
    }
    assert set(allowed) == {naming.alias_arn(templates.stage, row) for row in ROUTED}
    for row in ROUTED:
        pattern = "/".join("*" if part.startswith("{") else part for part in row.full_path.split("/"))
        assert allowed[naming.alias_arn(templates.stage, row)] == f"/{naming.API_STAGE}/*{pattern}"


def test_rows_of_the_local_stage_are_not_deployed(templates: Templates) -> None:
    local = [row for row in CATALOGUE if isinstance(row, Http) and row.local_only]
    assert local
    for row in local:
        assert row.full_path not in templates.api()["paths"]
        assert row.name not in templates.functions()


def test_preflight_reaches_a_function_wherever_a_browser_may_call(templates: Templates) -> None:
    for row in ROUTED:
        operations = templates.api()["paths"][row.full_path]
        assert ("options" in operations) == (isinstance(row, Http) and row.audience is not Audience.SIGNED)


def test_gateway_answers_are_problems(templates: Templates) -> None:
    answers = templates.api()["x-amazon-apigateway-gateway-responses"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "THROTTLED", "WAF_FILTERED", "MISSING_AUTHENTICATION_TOKEN"} <= set(answers)
    for answer in answers.values():
        problem = json.loads(answer["responseTemplates"]["application/json"])
        assert set(problem) == {"type", "title", "status", "detail", "code", "request_id"}
        assert problem["status"] == answer["statusCode"]
        assert problem["request_id"] == "$context.requestId"
        assert answer["responseParameters"]["gatewayresponse.header.Content-Type"] == "'application/problem+json'"


def test_an_unknown_path_is_404_like_on_the_laptop(templates: Templates) -> None:
    answers = templates.api()["x-amazon-apigateway-gateway-responses"]
    assert answers["MISSING_AUTHENTICATION_TOKEN"]["statusCode"] == 404
    assert '"code":"not_found"' in answers["MISSING_AUTHENTICATION_TOKEN"]["responseTemplates"]["application/json"]


def test_the_stage_serves_the_current_document(templates: Templates) -> None:
    (stage,) = templates.properties("AWS::ApiGateway::Stage")
    (deployment,) = [name.split("/")[1] for name, _ in templates.resources("AWS::ApiGateway::Deployment")]
    assert stage["DeploymentId"] == {"Ref": deployment}
    assert stage["MethodSettings"][0]["DataTraceEnabled"] is False


def test_another_document_is_another_deployment() -> None:
    stage = stages.load("dev", {})
    assert canonical(rest.document(stage, CATALOGUE)) != canonical(rest.document(stage, CATALOGUE[1:]))


def test_two_functions_for_one_route_are_refused() -> None:
    with pytest.raises(ValueError, match="two functions claim"):
        rest.document(stages.load("dev", {}), [CATALOGUE[0], CATALOGUE[0]])


def test_the_api_answers_on_its_domain_only(templates: Templates) -> None:
    (api,) = templates.properties("AWS::ApiGateway::RestApi")
    (domain,) = templates.properties("AWS::ApiGateway::DomainName")
    assert api["DisableExecuteApiEndpoint"] is True
    assert domain["DomainName"] == templates.stage.domain
    assert domain["SecurityPolicy"] == "TLS_1_2"

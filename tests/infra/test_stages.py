"""Settings of the stages, and the names made from them."""

from dataclasses import replace

import pytest

from functions.catalogue import CATALOGUE
from infra import naming, stages


@pytest.mark.parametrize("name", stages.NAMES)
def test_synthesis_needs_no_account(name: str) -> None:
    stage = stages.load(name, {})
    assert stage.account == stages.PLACEHOLDER_ACCOUNT
    assert len(stage.availability_zones) == stage.zones


def test_environment_overrides_settings() -> None:
    stage = stages.load(
        "prod",
        {
            "CDK_DEFAULT_ACCOUNT": "222222222222",
            "CARDWRIGHT_PROD_ACCOUNT": "333333333333",
            "CDK_DEFAULT_REGION": "eu-west-1",
            "CARDWRIGHT_PROD_DOMAIN": "cards.bank.example",
            "CARDWRIGHT_PROD_CORS_ORIGINS": "https://a.example, https://b.example",
            "CARDWRIGHT_PROD_MAIL_SENDER": "cards@bank.example",
            "CARDWRIGHT_DEV_DOMAIN": "other.example",
        },
    )
    assert (stage.account, stage.region) == ("333333333333", "eu-west-1")
    assert stage.public_url == "https://cards.bank.example"
    assert stage.messages == stages.Party(adapter="ses", url="mailto:cards@bank.example")
    assert stage.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("name", "environ", "said"),
    [
        ("staging", {}, "no stage"),
        ("dev", {"CARDWRIGHT_DEV_ACCOUNT": "12"}, "no account"),
        ("dev", {"CARDWRIGHT_DEV_REGION": "europe"}, "no region"),
        ("dev", {"CARDWRIGHT_DEV_DOMAIN": "https://x"}, "no domain"),
        ("dev", {"CARDWRIGHT_DEV_PROCESSOR": "visa"}, "no processor 'visa'"),
        ("dev", {"CARDWRIGHT_DEV_MESSAGES": "simulated"}, "no message channels 'simulated'"),
        ("dev", {"CARDWRIGHT_DEV_PROCESSOR": "marqeta"}, "no address of a processor"),
        ("dev", {"CARDWRIGHT_DEV_PROCESSOR_URL": "http://processor.example"}, "no address of a processor"),
        ("dev", {"CARDWRIGHT_DEV_PROCESSOR_URL": "https://user@processor.example"}, "no address of a processor"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(name: str, environ: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stages.load(name, environ)


def test_the_environment_names_the_processor() -> None:
    def processor(stage: str, **said: str) -> stages.Party:
        return stages.load(stage, {f"CARDWRIGHT_{stage.upper()}_{name}": value for name, value in said.items()}).processor

    assert processor("dev") == stages.Party(adapter="simulated", url="https://processor.dev.cardwright.example")
    assert processor("dev", PROCESSOR="stripe") == stages.Party(adapter="stripe", url="https://api.stripe.com")
    assert processor("dev", PROCESSOR="marqeta", PROCESSOR_URL="https://issuer.marqeta.example/v3").adapter == "marqeta"
    assert processor("prod") == stages.Party(adapter="lithic", url="https://api.lithic.com")
    assert processor("prod", PROCESSOR_URL="https://sandbox.lithic.com").url == "https://sandbox.lithic.com"


def test_the_environment_names_the_channels_of_messages() -> None:
    said = {"CARDWRIGHT_PROD_MESSAGES": "listed", "CARDWRIGHT_PROD_MAIL_SENDER": "cards@bank.example"}
    assert stages.load("prod", said).messages == stages.Party(adapter="listed", url="mailto:cards@bank.example")
    otherwise = stages.load("prod", {"CARDWRIGHT_PROD_MESSAGES": "listed"}).messages
    assert otherwise == replace(stages.load("prod", {}).messages, adapter="listed")


@pytest.mark.parametrize("named", ["simulated", "stripe", "marqeta"])
def test_prod_is_not_deployed_with_an_unproven_processor(named: str) -> None:
    environ = {"CARDWRIGHT_PROD_PROCESSOR": named, "CARDWRIGHT_PROD_PROCESSOR_URL": "https://processor.example"}
    with pytest.raises(ValueError, match="unproven"):
        stages.load("prod", environ)


def test_evidence_is_kept_for_seven_years_in_prod() -> None:
    assert stages.load("prod", {}).evidence_days == 2557
    assert stages.load("dev", {}).evidence_days == 1


def test_backups_are_gone_within_a_week() -> None:
    assert all(stages.load(name, {}).backup_days <= 7 for name in stages.NAMES)


def test_function_names_fit_and_differ() -> None:
    stage = stages.load("prod", {})
    names = [naming.function_name(stage, row) for row in CATALOGUE]
    assert len(set(names)) == len(names)


def test_a_name_lambda_would_refuse_is_refused() -> None:
    row = replace(CATALOGUE[0], name="a" * 60)
    with pytest.raises(ValueError, match="64"):
        naming.function_name(stages.load("prod", {}), row)

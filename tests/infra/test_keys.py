"""Several keys of card numbers, as while one takes the place of another."""

from dataclasses import replace
from typing import Any

import aws_cdk as cdk
from aws_cdk.assertions import Template

from cardwright.kernel import environment
from cardwright.kernel.rows import Capability, Row
from functions.cards.routes import CREATE_VIRTUAL_CARD
from functions.vault.routes import REENCRYPT_CARD_NUMBERS
from infra import capabilities, stages
from infra.handles import BucketHandle, CacheHandle, DatabaseHandle, Keys, Platform, QueueHandle, SecretHandle
from infra.keys import KeysStack

STAGE = replace(stages.load("dev", {}), vault_keys=("vault-2", "vault"))
KEYS = Keys(vault=("arn:new", "arn:old"), user="arn:user", mac="arn:mac", signing=("arn:signing",), storage="arn:storage")


def platform() -> Platform:
    """Handles with names that tell what they are."""
    return Platform(
        keys=KEYS,
        secrets={name: SecretHandle(name=name, arn=f"arn:{name}") for name in capabilities.SECRETS.values()},
        queues={
            name: QueueHandle(url=f"https://{name}", arn=f"arn:{name}", dead_arn=f"arn:{name}-dead")
            for name in ("events", "notifications")
        },
        exports=BucketHandle(name="exports", arn="arn:exports"),
        database=DatabaseHandle(
            name="cardwright", owner="owner", proxy_host="proxy", proxy_id="prx", cluster_host="cluster", cluster_id="cls"
        ),
        cache=CacheHandle(name="cache", host="cache", port="6379", arn="arn:cache", user="user", user_arn="arn:user"),
        webhook_sender="arn:sender",
    )


def on_vault_keys(row: Row) -> dict[str, Any]:
    """What a row's function may do with the keys of card numbers, and on which of them."""
    granted: list[dict[str, Any]] = [statement.to_statement_json() for statement in capabilities.grants(row, platform(), STAGE)]
    return {
        action: statement["Resource"]
        for statement in granted
        if set(statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]) & set(KEYS.vault)
        for action in ([statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
    }


def test_the_first_key_encrypts_and_all_decrypt() -> None:
    assert on_vault_keys(REENCRYPT_CARD_NUMBERS) == {"kms:GenerateDataKey": "arn:new", "kms:Decrypt": ["arn:new", "arn:old"]}


def test_who_makes_cards_reads_no_number_back() -> None:
    assert on_vault_keys(CREATE_VIRTUAL_CARD) == {"kms:GenerateDataKey": "arn:new"}


def test_functions_are_told_the_keys_in_their_order() -> None:
    (name,) = environment.VARIABLES[Capability.VAULT_KEY]
    assert environment.VARIABLES[Capability.VAULT_DECRYPT] == (name,)
    assert capabilities.variables(REENCRYPT_CARD_NUMBERS, platform(), STAGE)[name] == "arn:new,arn:old"


def test_a_key_put_in_front_leaves_the_old_one_as_it_was() -> None:
    def keys(stage: stages.Stage) -> dict[str, Any]:
        stack = KeysStack(cdk.App(), stage, cdk.Environment(account=stage.account, region=stage.region))
        assert len(stack.handle.vault) == len(stage.vault_keys)
        found: dict[str, Any] = dict(Template.from_stack(stack).find_resources("AWS::KMS::Key"))
        return found

    before, after = keys(stages.load("dev", {})), keys(STAGE)
    assert {name: after[name] for name in before} == before
    assert len(after) == len(before) + 1

"""What every test may ask for: the fixtures of the fix_*.py modules."""

pytest_plugins = [
    "tests.fix_aws",
    "tests.fix_cards",
    "tests.fix_hypothesis",
    "tests.fix_servers",
    "tests.fix_identity",
    "tests.fix_replays",
    "tests.fix_schemas",
    "tests.fix_webhooks",
]

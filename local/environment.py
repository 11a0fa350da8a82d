"""The environment of the stack's programs: what infra would set on the functions, and how to reach the emulator."""

import os
from collections.abc import Mapping
from typing import Any, Final

from cardwright.kernel import environment as names
from cardwright.kernel.rows import Capability
from local.lambda_context import ACCOUNT, REGION

_FOREIGN: Final = ("AWS_", "PG", "CARDWRIGHT_", "POWERTOOLS_", "LAMBDA_", "FORWARDED_ALLOW_IPS", "WEB_CONCURRENCY")
_LOOPBACK: Final = "127.0.0.1,localhost"
# Origins of the admin console and of the app while they are developed.
CORS_ORIGINS: Final = "http://localhost:3000,http://localhost:8081"

# Names of secrets, not secrets.
SEALING: Final = "cardwright/local/sealing"
PROCESSOR_INBOUND: Final = "cardwright/local/processor-inbound"
PROCESSOR_API: Final = "cardwright/local/processor-api"
KYC_INBOUND: Final = "cardwright/local/kyc-inbound"
MESSAGES_INBOUND: Final = "cardwright/local/messages-inbound"
KYC_API: Final = "cardwright/local/kyc-api"
MESSAGES_API: Final = "cardwright/local/messages-api"
# The function that posts to subscribers, by the name under which the workers answer for it.
WEBHOOK_SENDER: Final = "cardwright-send_webhook"


def base_environment() -> dict[str, str]:
    """This process's environment without what would steer a part: the user's own AWS, PostgreSQL or stack settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    # A proxy of the user's network must not be asked for loopback; a part's output goes to its log line by line.
    direct = ",".join(filter(None, (_LOOPBACK, kept.get("NO_PROXY", ""), kept.get("no_proxy", ""))))
    return {**kept, "NO_PROXY": direct, "no_proxy": direct, "PYTHONUNBUFFERED": "1"}


def aws_environment(port: int, invocations: int | None = None) -> dict[str, str]:
    """What the AWS SDK and the secrets extension's client need to reach the emulator on `port`, and nothing else.

    Functions are invoked where they run: in the workers, which answer on `invocations`.
    """
    return {
        **({"AWS_ENDPOINT_URL_LAMBDA": f"http://127.0.0.1:{invocations}"} if invocations else {}),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(port),
    }


def powertools_environment() -> dict[str, str]:
    """Logging and metrics as on Lambda, tracing off: there is no daemon to send to."""
    return {
        "POWERTOOLS_SERVICE_NAME": "cardwright",
        "POWERTOOLS_METRICS_NAMESPACE": "Cardwright",
        "POWERTOOLS_TRACE_DISABLED": "true",
        "POWERTOOLS_LOG_LEVEL": "INFO",
    }


def function_environment(values: Mapping[Capability, tuple[str, ...]], always: Mapping[str, str]) -> dict[str, str]:
    """Variables of all capabilities by their names in the kernel. Raises KeyError when one is forgotten here."""
    environment = dict(always)
    for capability, variables in names.VARIABLES.items():
        environment.update(zip(variables, values[capability] if variables else (), strict=True))
    return environment


def secret_documents(secrets: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The Secrets Manager entries of the stack: name -> JSON document."""
    return {
        SEALING: {"active": "k1", "keys": {"k1": secrets["sealing_key"]}},
        PROCESSOR_INBOUND: {"secrets": [secrets["processor_secret"]]},
        KYC_INBOUND: {"secrets": [secrets["kyc_secret"]]},
        # The simulator reports nothing afterwards.
        MESSAGES_INBOUND: {},
        PROCESSOR_API: {"api_key": secrets["processor_api_key"]},
        KYC_API: {"api_key": secrets["kyc_api_key"]},
        MESSAGES_API: {"api_key": secrets["messages_api_key"]},
    }

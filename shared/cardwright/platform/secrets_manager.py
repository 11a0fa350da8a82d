"""Secrets straight from Secrets Manager, for functions that cannot use the extension (docs/decisions/0017)."""

from botocore.exceptions import BotoCoreError, ClientError

from cardwright.platform.aws import client
from cardwright.platform.secrets import SecretStore


class SecretsManagerStore(SecretStore):
    """Reads JSON secrets with the AWS SDK, which finds the container credentials of a restored sandbox by itself."""

    def _read(self, name: str, timeout_s: float) -> str:
        # The deadlines are those of every client of ours: a client for each timeout would be a connection pool for each.
        try:
            return client("secretsmanager").get_secret_value(SecretId=name)["SecretString"]
        except (BotoCoreError, ClientError) as error:
            raise OSError("Secrets Manager did not give the secret") from error

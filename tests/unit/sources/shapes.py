"""Events as clouds send them."""

from typing import Any

REGION = "eu-central-1"
ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:production/database-AbC123"
TIME = "2026-01-02T03:04:05Z"

LABEL_UPDATED: dict[str, Any] = {
    "version": "0",
    "id": "6b2c1f7e",
    "detail-type": "Secret Label Updated",
    "source": "aws.secretsmanager",
    "account": "123456789012",
    "time": TIME,
    "region": REGION,
    "resources": [ARN],
    "detail": {"name": "production/database", "labelUpdated": "AWSCURRENT", "versionId": "v-2"},
}

PARAMETER: dict[str, Any] = {
    "id": "a",
    "detail-type": "Parameter Store Change",
    "source": "aws.ssm",
    "time": TIME,
    "region": REGION,
    "resources": [f"arn:aws:ssm:{REGION}:123456789012:parameter/shop/password"],
    "detail": {"operation": "Update", "name": "/shop/password", "type": "SecureString"},
}

AZURE: dict[str, Any] = {
    "id": "z",
    "topic": "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/Acme",
    "subject": "db-password",
    "eventType": "Microsoft.KeyVault.SecretNewVersionCreated",
    "eventTime": "2026-01-02T03:04:05.1234567Z",
    "data": {
        "Id": "https://acme.vault.azure.net/secrets/db-password/0123",
        "VaultName": "Acme",
        "ObjectType": "Secret",
        "ObjectName": "DB-Password",
        "Version": "0123",
        "NBF": None,
        "EXP": None,
    },
    "dataVersion": "1",
    "metadataVersion": "1",
}

VAULT: dict[str, Any] = {
    "id": "901f7388",
    "source": "vault://node",
    "specversion": "1.0",
    "type": "*",
    "time": "2026-01-02T03:04:05.123456789Z",
    "data": {
        "event": {
            "id": "901f7388",
            "metadata": {
                "current_version": "2",
                "data_path": "secret/data/shop/db",
                "modified": "true",
                "operation": "data-write",
                "path": "secret/data/shop/db",
            },
        },
        "event_type": "kv-v2/data-write",
        "plugin_info": {"mount_path": "secret/", "plugin": "kv"},
        "namespace": "team/",
    },
}

GOOGLE: dict[str, str] = {
    "eventType": "SECRET_VERSION_ADD",
    "secretId": "projects/123456789012/secrets/db",
    "versionId": "projects/123456789012/secrets/db/versions/7",
    "dataFormat": "JSON_API_V1",
    "timestamp": "2026-01-02T03:04:05.678-08:00",
}


def trail(name: str, *, kind: str = "AWS API Call via CloudTrail", **detail: Any) -> dict[str, Any]:
    """An event of CloudTrail."""
    source = "ssm" if "Parameter" in name else "secretsmanager"
    return {
        "id": "t",
        "detail-type": kind,
        "source": f"aws.{source}",
        "time": TIME,
        "region": REGION,
        "detail": {
            "eventSource": f"{source}.amazonaws.com",
            "eventName": name,
            "awsRegion": REGION,
            **detail,
        },
    }

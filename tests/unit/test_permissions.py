"""What a store calls, and what its page tells the user to allow, are the same.

The operations are found in the code: every text that is one word and begins with the verb of an
operation, as those of ``syncret_provider_calls_total`` do. So a new call fails here until it is
known what it takes, and until the page says so.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from syncret.providers.registry import NAMES

ROOT = Path(__file__).resolve().parents[2]
CODE = ROOT / "operator" / "syncret"
DOCS = ROOT / "docs"
AWS = DOCS / "providers"

OPERATION = re.compile(
    r"(Access(?!Denied|Key)|Assume|Batch|Change|Create|Decrypt|Delete|Describe|Exchange|Generate|Get"
    r"|List|Login|Lookup|Put|Read|Receive|Renew|Revoke|Rotate|Send|Sign|Unwrap|Update|Write)"
    r"(?![a-z])\w*"
)

#: Needs nothing to be allowed: whoever may log in at all, may do it.
NOTHING = ""

# By what calls them: the page, and what it says of each operation (a run of blanks counts as one).
_SECRETS_MANAGER = "providers/aws-secrets-manager.md"
_PARAMETER_STORE = "providers/aws-parameter-store.md"
_AWS_AUTH = "providers/aws-authentication.md"
_VAULT = "providers/vault.md"
_AZURE = "providers/azure-key-vault.md"
_GCP = "providers/gcp-secret-manager.md"
_KUBERNETES = "providers/kubernetes.md"
_LEASES = "generators-vault.md"

PERMISSIONS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "providers/aws": {
        "GetSecretValue": (_SECRETS_MANAGER, '"Action": "secretsmanager:GetSecretValue"'),
        "BatchGetSecretValue": (
            _SECRETS_MANAGER,
            '"Action": ["secretsmanager:BatchGetSecretValue", "secretsmanager:ListSecrets"]',
        ),
        "ListSecrets": (_SECRETS_MANAGER, "`secretsmanager:ListSecrets` is needed only for"),
        "DescribeSecret": (_SECRETS_MANAGER, "`secretsmanager:DescribeSecret`"),
        "RotateSecret": (_SECRETS_MANAGER, "`secretsmanager:RotateSecret` is needed only for"),
        "GetParameters": (_PARAMETER_STORE, '"Action": "ssm:GetParameters"'),
        "GetParametersByPath": (_PARAMETER_STORE, '"Action": "ssm:GetParametersByPath"'),
        "DescribeParameters": (_PARAMETER_STORE, '`ssm:DescribeParameters`, on `"*"`, is needed'),
        "ListTagsForResource": (_PARAMETER_STORE, "`ssm:ListTagsForResource` is needed only for"),
        "AssumeRole": (_AWS_AUTH, '"Action": ["sts:AssumeRole", "sts:TagSession"]'),
        "AssumeRoleWithWebIdentity": (_AWS_AUTH, '"Action": "sts:AssumeRoleWithWebIdentity"'),
    },
    "providers/azurekv": {
        "GetSecret": (_AZURE, "| Key Vault Secrets User | secrets: Get, and List for `find` |"),
        "GetSecrets": (_AZURE, "| Key Vault Secrets User | secrets: Get, and List for `find` |"),
        "GetKey": (_AZURE, "| `key/…` | Key Vault Reader | keys: Get |"),
        "GetCertificate": (_AZURE, "| `cert/…` | Key Vault Reader | certificates: Get |"),
        "GetToken": (_AZURE, NOTHING),
    },
    "providers/gcp": {
        "AccessSecretVersion": (_GCP, "| `secretmanager.versions.access` |"),
        "GetSecretVersion": (_GCP, "| `secretmanager.versions.get` |"),
        "ListSecretVersions": (_GCP, "| `secretmanager.versions.list` |"),
        "ListSecrets": (_GCP, "| `secretmanager.secrets.list` |"),
        "GetSecret": (_GCP, "| `secretmanager.secrets.get` |"),
        "ExchangeToken": (_GCP, "gcloud services enable secretmanager.googleapis.com sts."),
        "GenerateAccessToken": (_GCP, "--role=roles/iam.workloadIdentityUser"),
    },
    "providers/kubernetes": {
        "GetSecret": (_KUBERNETES, "verbs: [get]"),
        "GetSecretMetadata": (_KUBERNETES, "verbs: [get]"),
        "ListSecretMetadata": (_KUBERNETES, "`list` is needed for `dataFrom[].find` only"),
        "CreateSelfSubjectRulesReview": (_KUBERNETES, "which every authenticated user may ask"),
    },
    "providers/vault": {
        "ReadSecret": (_VAULT, 'path "secret/data/payments/*" { capabilities = ["read"] }'),
        "ListSecrets": (
            _VAULT,
            'path "secret/metadata/payments/*" { capabilities = ["list", "read"] }',
        ),
        "ReadMetadata": (_VAULT, '"read" for find by tags'),
        "ReadStaticRole": (
            _VAULT,
            'path "database/static-creds/orders" { capabilities = ["read"] }',
        ),
        "ListStaticRoles": (_VAULT, 'path "database/static-roles" { capabilities = ["list"] }'),
        "RotateStaticRole": (
            _VAULT,
            'path "database/rotate-role/orders" { capabilities = ["update"] }',
        ),
        "ReadMount": (_VAULT, "Vault answers any token that has"),
        "RenewSelf": (_VAULT, "lets a token renew, look up and revoke itself"),
        "LookupSelf": (_VAULT, "lets a token renew, look up and revoke itself"),
        "RevokeSelf": (_VAULT, "lets a token renew, look up and revoke itself"),
        "Login": (_VAULT, NOTHING),
    },
    "generators/vaultdynamic": {
        "Generate": (_LEASES, 'path "database/creds/readonly" { capabilities = ["read"] }'),
        "RenewLease": (_LEASES, 'path "sys/leases/renew" { capabilities = ["update"] }'),
        "RevokeLease": (_LEASES, 'path "sys/leases/revoke" { capabilities = ["update"] }'),
        "RenewAccessor": (
            _LEASES,
            'path "auth/token/renew-accessor" { capabilities = ["update"] }',
        ),
        "LookupAccessor": (
            _LEASES,
            'path "auth/token/lookup-accessor" { capabilities = ["update"] }',
        ),
        "RevokeAccessor": (
            _LEASES,
            'path "auth/token/revoke-accessor" { capabilities = ["update"] }',
        ),
    },
    "sources/sqs.py": {
        "ReceiveMessage": ("events.md", '"sqs:ReceiveMessage"'),
        "DeleteMessage": ("events.md", '"sqs:DeleteMessage"'),
    },
}

#: Providers whose places have no permissions of their own to give.
WITHOUT = {"fake", "file", "webhook"}

#: What the policies name besides operations of ours: AWS makes these calls for us, or checks a part
#: of one by itself.
FURTHER = {"kms:Decrypt", "sts:TagSession"}


def _operations(part: str) -> set[str]:
    path = CODE / part
    return {
        node.value
        for file in (path.rglob("*.py") if path.is_dir() else (path,))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and OPERATION.fullmatch(node.value)
    }


def _page(name: str) -> str:
    return " ".join((DOCS / name).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("part", PERMISSIONS)
def test_a_page_names_what_each_call_needs(part: str) -> None:
    permissions = PERMISSIONS[part]
    assert set(permissions) == _operations(part)
    for page, text in permissions.values():
        assert text in _page(page)


def test_every_provider_is_looked_at() -> None:
    parts = {"aws": "aws", "azurekv": "azurekv", "gcpsm": "gcp"}
    found = {f"providers/{parts.get(name, name)}" for name in set(NAMES) - WITHOUT}
    assert found == {part for part in PERMISSIONS if part.startswith("providers/")}


def _statements(page: Path) -> Iterator[Mapping[str, Any]]:
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^ *```json\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE):
        yield from json.loads(block)["Statement"]


@pytest.mark.parametrize("page", sorted(AWS.glob("aws-*.md")), ids=lambda page: page.stem)
def test_a_policy_of_aws_allows_nothing_that_is_not_called(page: Path) -> None:
    called = _operations("providers/aws")
    statements = list(_statements(page))
    assert statements
    for statement in statements:
        actions = statement["Action"]
        for action in [actions] if isinstance(actions, str) else actions:
            assert action in FURTHER or action.partition(":")[2] in called, action
            assert "*" not in action

"""Which secrets are read together, and which result answers which reference. Pure.

A secret is named by its name or by an ARN, and Secrets Manager ends every ARN with six random
characters that a reference may leave out. The answer to a batch has no positions: each value comes
with its secret's ARN and name, each error with an id. Names and ARNs never share a batch, because
an ARN may be of another account, whose secret may have the name that a reference of this account
asks for.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from syncret.errors import ProviderRejected
from syncret.providers.aws.arns import is_arn
from syncret.providers.base import Ref

#: The most ids that AWS accepts in one BatchGetSecretValue.
BATCH: Final = 20

# What AWS documents of names. Something else is read alone: one id that AWS finds malformed makes
# it refuse the whole batch.
_NAME: Final = re.compile(r"[A-Za-z0-9/_+=.@!-]{1,512}")
_ARN: Final = re.compile(r"arn:[a-z0-9-]+:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^\s:]{1,519}")
_ARN_SUFFIX: Final = 7  # "-" and six characters

# A version id is a token of 32 to 64 characters; AWS and the SDKs make UUIDs.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
_ID_PREFIXES: Final = ("id/", "uuid/")  # "uuid/" is what External Secrets Operator writes
_STAGE_PREFIX: Final = "stage/"


def batches(refs: Iterable[Ref]) -> tuple[list[tuple[str, ...]], list[Ref]]:
    """The batches of ids to read, and the references that are read alone.

    A batch of one is no batch: GetSecretValue costs the same, has a hundred times its rate limit,
    and needs one permission less.
    """
    names: list[str] = []
    arns: list[str] = []
    alone: list[Ref] = []
    for ref in dict.fromkeys(refs):
        if ref.version or ref.metadata:
            alone.append(ref)
        elif _NAME.fullmatch(ref.key):
            names.append(ref.key)
        elif _ARN.fullmatch(ref.key):
            arns.append(ref.key)
        else:
            alone.append(ref)
    found: list[tuple[str, ...]] = []
    for ids in (*_batched(names), *_batched(arns)):
        if len(ids) == 1:
            alone.append(Ref(ids[0]))
        else:
            found.append(ids)
    return found, alone


def _batched(ids: list[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH))


def answered_by_value(ids: Sequence[str], *, arn: str, name: str) -> list[str]:
    """The ids of a batch that a value with that ARN and name answers."""
    if not is_arn(ids[0]):
        return [name] if name in ids else []
    return [found for found in (arn, arn[:-_ARN_SUFFIX]) if found in ids]


def answered_by_error(ids: Sequence[str], secret_id: str) -> list[str]:
    """The ids of a batch that an error is about: AWS names the secret by either kind of id."""
    if secret_id in ids:
        return [secret_id]
    if not is_arn(secret_id):
        return []
    if is_arn(ids[0]):
        return answered_by_value(ids, arn=secret_id, name="")
    name = secret_id.split(":secret:", 1)[-1]
    return [found for found in (name, name[:-_ARN_SUFFIX]) if found in ids]


def version_parameters(version: str) -> Mapping[str, str]:
    """A reference's version as the parameters of GetSecretValue; raises ProviderRejected."""
    for prefix in _ID_PREFIXES:
        if version.startswith(prefix):
            return {"VersionId": _version_id(version.removeprefix(prefix), version)}
    if not version:
        return {}
    if _UUID.fullmatch(version):
        return {"VersionId": version}
    stage = version.removeprefix(_STAGE_PREFIX)
    if not 1 <= len(stage) <= 256:
        raise ProviderRejected(
            f'The version "{version[:80]}" is not usable: a staging label has 1 to 256 characters.'
        )
    return {"VersionStage": stage}


def _version_id(value: str, version: str) -> str:
    if not 32 <= len(value) <= 64:
        raise ProviderRejected(
            f'The version "{version[:80]}" is not usable: a version id has 32 to 64 characters.'
        )
    return value

"""The key of every keyed digest: made once, kept in one Secret of the operator's namespace."""

import base64
import binascii
import logging
import secrets
from typing import Final

from syncret.constants import DIGEST_KEY_SECRET, FIELD_MANAGER
from syncret.errors import KubeAlreadyExists, KubeNotFound, SetupError
from syncret.kube.client import KubeClient
from syncret.kube.resources import SECRETS

logger = logging.getLogger(__name__)

_FIELD: Final = "key"
_LENGTH: Final = 32


async def load_or_create_digest_key(kube: KubeClient, namespace: str) -> bytes:
    """The key, created with the system's randomness if there is none.

    Raises SetupError when the Secret is there without a usable key: making another would only
    hide that something overwrote it.
    """
    try:
        body = await kube.get(SECRETS, namespace=namespace, name=DIGEST_KEY_SECRET)
    except KubeNotFound:
        key = secrets.token_bytes(_LENGTH)
        try:
            await kube.create(
                SECRETS,
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": DIGEST_KEY_SECRET, "namespace": namespace},
                    "type": "Opaque",
                    "immutable": True,
                    "data": {_FIELD: base64.b64encode(key).decode("ascii")},
                },
                namespace=namespace,
                field_manager=FIELD_MANAGER,
                metadata_only=True,
            )
        except KubeAlreadyExists:  # another replica was faster; its key is the one
            body = await kube.get(SECRETS, namespace=namespace, name=DIGEST_KEY_SECRET)
        else:
            logger.info(
                "A digest key was made", extra={"secret": f"{namespace}/{DIGEST_KEY_SECRET}"}
            )
            return key
    try:
        key = base64.b64decode((body.get("data") or {})[_FIELD])
    except (KeyError, binascii.Error):
        key = b""
    if len(key) < _LENGTH:
        raise SetupError(
            f'The Secret "{DIGEST_KEY_SECRET}" in namespace "{namespace}" has no usable '
            f'"{_FIELD}": restore it from a backup, or delete it and a new key is made '
            "(changes that happened while Syncret was stopped are then not noticed)."
        )
    return key

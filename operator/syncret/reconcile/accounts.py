"""ServiceAccounts as a proof to stores: their tokens, made by the API server when they are wanted.

A token is made for the audiences that a store expects, and for a short time; it is kept by nobody
but who asked for it. That a ServiceAccount exists is not enough: whoever may make stores in a
namespace may use every ServiceAccount of it, as whoever may make pods there can.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from syncret.constants import FIELD_MANAGER
from syncret.errors import (
    AccessDenied,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    ProviderError,
    ProviderUnavailable,
)
from syncret.kube.resources import SERVICE_ACCOUNTS, Resource
from syncret.providers.base import SecretValue

#: Seconds: the API server refuses a shorter life.
_SHORTEST: Final = 600

#: The audience of this cluster's API server, as nearly every cluster has it.
_API_SERVER: Final = re.compile(r"(https://)?kubernetes\.default(\.svc(\.[-a-z0-9.]+)?)?(:443)?/?")


class TokenMaker(Protocol):
    """What is needed of the Kubernetes client."""

    async def create(
        self,
        resource: Resource,
        body: Mapping[str, Any],
        *,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        field_manager: str,
    ) -> Mapping[str, Any]: ...


class Account:
    """A :class:`syncret.providers.base.ServiceAccount` of the cluster."""

    def __init__(self, kube: TokenMaker, body: Mapping[str, Any]) -> None:
        """``body``: the ServiceAccount as the API server gives it."""
        meta = body["metadata"]
        self._kube = kube
        self._uid = str(meta.get("uid", ""))
        self.namespace = str(meta["namespace"])
        self.name = str(meta["name"])
        self.annotations: Mapping[str, str] = dict(meta.get("annotations") or {})

    @property
    def fingerprint(self) -> bytes:
        """What a store that was opened with it depends on."""
        return json.dumps([self._uid, self.annotations], sort_keys=True).encode()

    @property
    def _who(self) -> str:
        return f'the ServiceAccount "{self.name}" in namespace "{self.namespace}"'

    async def token(self, audiences: Sequence[str], *, seconds: int = 3600) -> SecretValue:
        """A new token: see :class:`syncret.providers.base.ServiceAccount`. Raises ProviderError."""
        if any(_API_SERVER.fullmatch(audience) for audience in audiences):
            # It goes to an address that a store names, and would be good for the API server there.
            raise AccessDenied(
                f"No token of {self._who} is made for this cluster's API server, where whoever "
                "gets it could use it: name the audience of the store in its auth, and have the "
                "store expect that."
            )
        spec: dict[str, Any] = {"expirationSeconds": max(_SHORTEST, seconds)}
        if audiences:
            spec["audiences"] = list(audiences)
        try:
            answer = await self._kube.create(
                SERVICE_ACCOUNTS,
                {
                    "apiVersion": "authentication.k8s.io/v1",
                    "kind": "TokenRequest",
                    "spec": spec,
                },
                namespace=self.namespace,
                name=self.name,
                subresource="token",
                field_manager=FIELD_MANAGER,
            )
        except KubeError as error:
            problem = self._problem(error)
        else:
            status = answer["status"]
            expires = datetime.fromisoformat(status["expirationTimestamp"])
            return SecretValue(status["token"].encode(), expires=expires)
        raise problem

    def _problem(self, error: KubeError) -> ProviderError:
        who = self._who
        match error:
            case KubeForbidden():
                return AccessDenied(
                    f"The operator may not make tokens of {who}: grant it the verb "
                    '"create" on the resource "serviceaccounts/token" (the chart\'s value '
                    "rbac.serviceAccountTokens)."
                )
            case KubeNotFound():
                return AccessDenied(
                    f"There is no token, because {who} does not exist any more: create it, or "
                    "correct the store's auth."
                )
            case KubeInvalid():
                return AccessDenied(
                    f"The API server refuses to make a token of {who} as the store asks for it: "
                    "correct the audiences in the store's auth."
                )
        return ProviderUnavailable(
            f"The API server did not make a token of {who}; it is tried again."
        )

"""Failures of the API server in words for a person who runs a command.

The rights are the person's own here, and not those of the operator.
"""

from syncret.errors import KubeError, KubeForbidden, KubeUnauthorized, KubeUnavailable
from syncret.kube.resources import Resource


def yours(error: KubeError, verb: str, resource: Resource, namespace: str) -> KubeError:
    """The error with what that person can do about it; as it is where that is said already."""
    if isinstance(error, KubeUnauthorized):
        return KubeUnauthorized(
            "The API server refuses your credentials: log in again, or correct the kubeconfig."
        )
    if isinstance(error, KubeUnavailable):
        return KubeUnavailable(
            f"{error.message} See whether `kubectl version` works with the same kubeconfig.",
            status=error.status,
        )
    if not isinstance(error, KubeForbidden):
        return error
    where = f'in namespace "{namespace}"' if namespace else "in the whole cluster"
    narrower = "" if namespace or not resource.namespaced else ", or name a namespace by -n"
    return KubeForbidden(
        f'You may not {verb} {resource.plural} {where}: have the verb "{verb}" on '
        f'"{resource.name}" granted to you{narrower}.'
    )

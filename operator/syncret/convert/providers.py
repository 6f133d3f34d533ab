"""The parts of a store that are of another form here: azurekv, gcpsm, kubernetes, webhook and fake.

Each takes ESO's fields and gives ours; what :func:`syncret.convert.copying.copied` then finds
unknown is said there. The other providers have ESO's form.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from syncret.convert.result import Body, Result
from syncret.errors import SpecInvalid
from syncret.providers.webhook import jsonpath

#: What the API server of one's own cluster is called inside it.
_OWN: Final = re.compile(r"(https://)?kubernetes\.default(\.svc(\.cluster\.local)?)?(:443)?/?")

_MARK: Final = re.compile(r"(?P<open>\"?)\{\{-?\s*(?P<inner>[^{}]*?)\s*-?\}\}(?P<close>\"?)")
_FIELD: Final = re.compile(r"\.(?P<head>[A-Za-z][-\w]*)\.(?P<tail>[A-Za-z0-9][-.\w]*)")
_REMOTE: Final = {"key": "key", "version": "version"}


def rearranged(name: str, part: Any, result: Result) -> Any:
    """A provider's part of a store in our form."""
    arrange = _PROVIDERS.get(name)
    if arrange is None or not isinstance(part, Mapping):
        return part
    return arrange(dict(part), result)


def _kubernetes(part: Body, result: Result) -> Body:
    path = "spec.provider.kubernetes"
    part.setdefault("remoteNamespace", "default")
    auth = dict(part.get("auth") or {})
    reference = part.pop("authRef", None)
    if reference is not None:
        auth = {"kubeconfig": {"secretRef": reference}}
        part.pop("server", None)
        result.note(f"{path}.authRef", "it is auth.kubeconfig, which says where its server is")
    server = part.get("server")
    server = dict(server) if isinstance(server, Mapping) else {}
    url = str(server.get("url") or "kubernetes.default")
    account = auth.get("serviceAccount")
    if _OWN.fullmatch(url):
        part.pop("server", None)
        if isinstance(account, Mapping) and account.get("audiences"):
            auth["serviceAccount"] = {k: v for k, v in account.items() if k != "audiences"}
            result.note(
                f"{path}.auth.serviceAccount.audiences",
                "the API server of this cluster takes the token that it makes without any",
            )
        if server.get("caBundle") or server.get("caProvider"):
            result.note(f"{path}.server", "how to reach this cluster is known to Syncret")
    elif reference is None:
        if "://" not in url:
            server["url"] = f"https://{url}"
        part["server"] = server
        if isinstance(account, Mapping) and not account.get("audiences"):
            result.lose(
                f"{path}.auth.serviceAccount",
                "a token for another cluster needs audiences: name the one that it expects",
            )
    part["auth"] = auth
    return part


#: The order in which the first way to authenticate is taken there.
_GCP: Final = ("secretRef", "workloadIdentity", "workloadIdentityFederation")

#: What only one kind of authentication looks at there, and only that one may have here.
_AZURE: Final = {
    "identityId": ("ManagedIdentity",),
    "serviceAccountRef": ("WorkloadIdentity",),
    "authSecretRef": ("ServicePrincipal", "WorkloadIdentity"),
}


def _gcpsm(part: Body, result: Result) -> Body:
    auth = part.get("auth")
    if not isinstance(auth, Mapping):
        return part
    named = [name for name in _GCP if auth.get(name)]
    for name in named[1:]:
        result.note(
            f"spec.provider.gcpsm.auth.{name}", f"it did nothing beside {named[0]}, and is left out"
        )
    if len(named) > 1:
        part["auth"] = {name: one for name, one in auth.items() if name not in named[1:]}
    return part


def _azurekv(part: Body, result: Result) -> Body:
    path = "spec.provider.azurekv"
    kind = part.get("authType") or "ServicePrincipal"
    for name, kinds in _AZURE.items():
        if kind not in kinds and part.pop(name, None):
            result.note(f"{path}.{name}", f"it did nothing with the authType {kind}")
    if part.pop("useAzureSDK", None) is not None:
        result.note(f"{path}.useAzureSDK", "there is one SDK here, which needs no switch")
    custom = part.get("customCloudConfig")
    if isinstance(custom, Mapping) and "resourceManagerEndpoint" in custom:
        part["customCloudConfig"] = {
            name: value for name, value in custom.items() if name != "resourceManagerEndpoint"
        }
        result.note(
            f"{path}.customCloudConfig.resourceManagerEndpoint",
            "the resource manager is not asked for anything",
        )
    return part


def _fake(part: Body, result: Result) -> Body:
    if part.pop("validationResult", None) is not None:
        result.note("spec.provider.fake.validationResult", "a fake store is always ready")
    return part


def _webhook(part: Body, result: Result) -> Body:
    path = "spec.provider.webhook"
    secrets: dict[str, Body] = {}
    given = {
        str(one.get("name")): one.get("secretRef")
        for one in part.pop("secrets", None) or ()
        if isinstance(one, Mapping)
    }
    translate = _Placeholders(given, secrets, result)
    for name in ("url", "body"):
        if isinstance(part.get(name), str):
            part[name] = translate.text(part[name], f"{path}.{name}", name)
    headers = part.get("headers")
    if isinstance(headers, Mapping):
        part["headers"] = {
            name: translate.text(str(value), f"{path}.headers.{name}", "header")
            for name, value in headers.items()
        }
    if secrets:
        part["secrets"] = list(secrets.values())
    if isinstance(part.get("method"), str):
        part["method"] = part["method"].upper() or "GET"
        if part["method"] not in {"GET", "POST", "PUT"}:
            result.lose(f"{path}.method", "there are GET, POST and PUT")
    _result(part, path, result)
    part["notFoundStatus"] = 404
    result.note(f"{path}.notFoundStatus", "404 with a JSON body means that a secret is missing")
    host = urlsplit(str(part.get("url") or "")).netloc.partition("{")[0]
    result.note(f"{path}.url", f"the operator has to run with --webhook-hosts={host}")
    return part


def _result(part: Body, path: str, result: Result) -> None:
    given = part.get("result")
    expression = given.get("jsonPath") if isinstance(given, Mapping) else None
    if not expression:
        part.pop("result", None)
        return
    try:
        jsonpath.parse(str(expression), f"{path}.result.jsonPath")
    except SpecInvalid:
        result.lose(f"{path}.result.jsonPath", "it does not name exactly one place", expression)


class _Placeholders:
    """Go's templates of a request as placeholders, as far as they are nothing else."""

    def __init__(self, given: Mapping[str, Any], secrets: dict[str, Body], result: Result) -> None:
        self._given = given
        self._secrets = secrets
        self._result = result

    def text(self, text: str, path: str, place: str) -> str:
        def replaced(mark: re.Match[str]) -> str:
            name = self._name(mark["inner"])
            if name is None or (place == "url" and name.startswith("secrets.")):
                self._result.lose(path, "its template does more than to put in a value", text)
                return mark[0]
            quoted = mark["open"] == mark["close"] == '"'
            if place != "body":
                return f"{mark['open']}{{{{ {name} }}}}{mark['close']}"
            if not quoted:
                self._result.lose(path, "a value outside of quotes can become anything", text)
            return f"{{{{ {name} | json }}}}"

        return _MARK.sub(replaced, text)

    def _name(self, inner: str) -> str | None:
        field = _FIELD.fullmatch(inner)
        if field is None:
            return None
        head, tail = field["head"], field["tail"]
        if head == "remoteRef":
            return _REMOTE.get(tail)
        reference = self._given.get(head)
        if not isinstance(reference, Mapping) or reference.get("key") not in {None, "", tail}:
            return None
        name = re.sub(r"[^-A-Za-z0-9_]", "-", f"{head}-{tail}")[:63]
        self._secrets[name] = {"name": name, "secretRef": {**reference, "key": tail}}
        return f"secrets.{name}"


_PROVIDERS: Final[Mapping[str, Callable[[Body, Result], Body]]] = {
    "azurekv": _azurekv,
    "fake": _fake,
    "gcpsm": _gcpsm,
    "kubernetes": _kubernetes,
    "webhook": _webhook,
}

"""Vault, of stores and of the generator VaultDynamicSecret: what is said otherwise here, or does
nothing there."""

from collections.abc import Mapping
from typing import Any, Final

from syncret.convert.result import Body, Result

_PATH: Final = "spec.provider.vault"

#: The order in which the first way to authenticate is taken there.
_METHODS: Final = (
    *("tokenSecretRef", "appRole", "kubernetes", "ldap", "jwt", "cert", "iam", "userPass"),
    "gcp",
)
#: What names whose identity logs in; with none of them it is the operator's own.
_OWN: Final = {"kubernetes": ("serviceAccountRef", "secretRef"), "iam": ("secretRef", "jwt")}


#: The kind that may use the operator's own identity, by the one that may not.
_CLUSTER: Final = {"SecretStore": "ClusterSecretStore", "Generator": "ClusterGenerator"}


def convert_dynamic(spec: Mapping[str, Any], kind: str, path: str, result: Result) -> Body:
    """The spec of a VaultDynamicSecret as ``spec.generator.vaultDynamic`` of our kind."""
    fields = {
        name: value
        for name, value in spec.items()
        if name != "controller" and value not in (None, "", [], {})
    }
    if isinstance(named := fields.get("path"), str):
        fields["path"] = named.strip("/")
    if fields.pop("retrySettings", None):
        result.note(f"{path}.retrySettings", "retries are the engine's, with growing delays")
    if fields.pop("allowEmptyResponse", None):
        result.note(f"{path}.allowEmptyResponse", "an answer without a result is an error here")
    if fields.pop("getParameters", None):
        result.lose(f"{path}.getParameters", "a read has no parameters here: use the method POST")
    if fields.get("method", "GET") not in {"GET", "POST", "PUT"}:
        result.lose(f"{path}.method", "the methods are GET, POST and PUT")
    if fields.get("method", "GET") == "GET" and fields.pop("parameters", None):
        result.note(f"{path}.parameters", "they did nothing with the method GET, and are left out")
    provider = fields.get("provider")
    if isinstance(provider, Mapping):
        made = convert_vault(provider, kind, result, path=f"{path}.provider")
        for name in ("path", "version"):
            if made.pop(name, None):
                result.note(f"{path}.provider.{name}", "it is of stores, and did nothing here")
        fields["provider"] = made
    return fields


def convert_vault(
    vault: Mapping[str, Any], kind: str, result: Result, *, path: str = _PATH
) -> Body:
    """The same in our words; what is left in other words is then said to be lost.

    ``path``: of the part in the spec, for the remarks.
    """
    fields = {name: value for name, value in vault.items() if value not in (None, "", [], {})}
    if fields.pop("readYourWrites", None) or fields.pop("forwardInconsistent", None):
        result.note(
            f"{path}.readYourWrites",
            "a standby that has not caught up (412) is asked again; the headers are not sent",
        )
    fields.pop("forwardInconsistent", None)
    if fields.pop("checkAndSet", None):
        result.note(f"{path}.checkAndSet", "it is for what is pushed, and does nothing here")
    if isinstance(mount := fields.get("path"), str):
        fields["path"] = mount.strip("/")
    provider = fields.get("caProvider")
    if isinstance(provider, Mapping) and "key" not in provider:
        fields["caProvider"] = {**provider, "key": "ca.crt"}
        result.note(f"{path}.caProvider.key", "it is named here, and taken to be ca.crt")
    auth = fields.get("auth")
    if isinstance(auth, Mapping):
        fields["auth"] = _auth(auth, kind, result, f"{path}.auth")
    return fields


def _auth(auth: Mapping[str, Any], kind: str, result: Result, path: str) -> Body:
    named = [name for name in _METHODS if auth.get(name)]
    for name in named[1:]:
        result.note(f"{path}.{name}", f"it did nothing beside {named[0]}, and is left out")
    made = {
        name: value
        for name, value in auth.items()
        if value not in (None, {}, "") and name not in named[1:]
    }
    if not named:
        return made
    method = made[named[0]]
    if not isinstance(method, Mapping):
        return made
    made[named[0]] = _method(named[0], method, kind, result, f"{path}.{named[0]}")
    return made


def _method(name: str, method: Mapping[str, Any], kind: str, result: Result, path: str) -> Body:
    fields = {name: value for name, value in method.items() if value not in (None, "", [], {})}
    match name:
        case "appRole":
            if "roleRef" in fields and fields.pop("roleId", None):
                result.note(f"{path}.roleId", "it did nothing beside roleRef, and is left out")
        case "kubernetes":
            _kubernetes(fields, path, result)
        case "gcp":
            for one in ("projectID", "location"):
                fields.pop(one, None)  # the key says the one, and the other is of clusters
    ways = _OWN.get(name, ())
    if not kind.startswith("Cluster") and ways and not any(way in fields for way in ways):
        result.lose(
            path,
            f"the operator's own identity is used by a {_CLUSTER[kind]} only: name "
            f"{' or '.join(ways)}",
        )
    return fields


def _kubernetes(fields: Body, path: str, result: Result) -> None:
    account, secret = fields.get("serviceAccountRef"), fields.get("secretRef")
    if account and fields.pop("secretRef", None):
        result.note(f"{path}.secretRef", "it did nothing beside serviceAccountRef")
    elif isinstance(secret, Mapping) and "name" in secret and "key" not in secret:
        fields["secretRef"] = {**secret, "key": "token"}
        result.note(f"{path}.secretRef.key", "it is named here, and taken to be token")
    if isinstance(account, Mapping) and not account.get("audiences"):
        result.note(
            f"{path}.serviceAccountRef",
            "without audiences tokens are for the audience vault here, and never for the API "
            'server: set audience="vault" on the role in Vault, or name the role\'s in audiences',
        )

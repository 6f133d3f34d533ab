"""``spec.provider.vault`` of a store: what is said otherwise here, or does nothing there."""

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


def convert_vault(vault: Mapping[str, Any], kind: str, result: Result) -> Body:
    """The same in our words; what is left in other words is then said to be lost."""
    fields = {name: value for name, value in vault.items() if value not in (None, "", [], {})}
    if fields.pop("readYourWrites", None) or fields.pop("forwardInconsistent", None):
        result.note(
            f"{_PATH}.readYourWrites",
            "a standby that has not caught up (412) is asked again; the headers are not sent",
        )
    fields.pop("forwardInconsistent", None)
    if fields.pop("checkAndSet", None):
        result.note(f"{_PATH}.checkAndSet", "it is for what is pushed, and does nothing here")
    if isinstance(path := fields.get("path"), str):
        fields["path"] = path.strip("/")
    provider = fields.get("caProvider")
    if isinstance(provider, Mapping) and "key" not in provider:
        fields["caProvider"] = {**provider, "key": "ca.crt"}
        result.note(f"{_PATH}.caProvider.key", "it is named here, and taken to be ca.crt")
    auth = fields.get("auth")
    if isinstance(auth, Mapping):
        fields["auth"] = _auth(auth, kind, result)
    return fields


def _auth(auth: Mapping[str, Any], kind: str, result: Result) -> Body:
    path = f"{_PATH}.auth"
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
    made[named[0]] = _method(named[0], method, kind, result)
    return made


def _method(name: str, method: Mapping[str, Any], kind: str, result: Result) -> Body:
    path = f"{_PATH}.auth.{name}"
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
    if kind == "SecretStore" and ways and not any(way in fields for way in ways):
        result.lose(
            path,
            "the operator's own identity is used by a ClusterSecretStore only: name "
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

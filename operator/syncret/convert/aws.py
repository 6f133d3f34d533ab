"""``spec.provider.aws`` of a store: what is said otherwise here, or does nothing there."""

from collections.abc import Mapping
from typing import Any, Final

from syncret.convert.result import Body, Result

_PATH: Final = "spec.provider.aws"

#: The tags that a store gives its sessions, there and here.
_TAGS: Final = {
    "esoNamespace": "syncretNamespace",
    "esoStoreName": "syncretStoreName",
    "esoStoreKind": "syncretStoreKind",
}
#: What is sent along with ``role``, and without it with nothing.
_OF_ROLE: Final = ("externalID", "sessionTags", "transitiveTagKeys", "sessionTagsPolicy")


def convert_aws(aws: Mapping[str, Any], kind: str, result: Result) -> Body:
    """The same in our words; what is left in other words is then said to be lost."""
    fields = {name: value for name, value in aws.items() if value not in (None, "", [], {})}
    if fields.pop("secretsManager", None):
        result.note(f"{_PATH}.secretsManager", "it is for what is pushed, and does nothing here")
    _auth(fields, result)
    if kind == "SecretStore" and "auth" not in fields:
        result.note(
            f"{_PATH}.auth",
            "a SecretStore uses the operator's own identity only where the operator runs with "
            "--ambient-credentials-for-secret-stores (chart: secretStores.ambientCredentials)",
        )
    _roles(fields, result)
    _session_tags(fields, kind, result)
    if "prefix" in fields:
        result.note(
            f"{_PATH}.prefix",
            "a find looks below it, and names what it finds without it; there it did neither",
        )
    return fields


def _auth(fields: Body, result: Result) -> None:
    auth = fields.get("auth")
    if not isinstance(auth, Mapping):
        return
    ways = {name: value for name, value in auth.items() if value}
    if len(ways) > 1:
        result.lose(f"{_PATH}.auth", "it names two ways to authenticate: name one", auth)
    if ways:
        fields["auth"] = ways
    else:
        del fields["auth"]  # the controller's own identity, which is named by no auth at all


def _roles(fields: Body, result: Result) -> None:
    if fields.get("role"):
        return
    for name in _OF_ROLE:
        if fields.pop(name, "None") != "None":
            result.note(f"{_PATH}.{name}", "it goes with role, and without one it does nothing")
    fields.pop("customSessionTags", None)
    roles = list(fields.get("additionalRoles") or ())
    if roles:
        fields["role"] = roles.pop()
        fields["additionalRoles"] = roles
    if not roles:
        fields.pop("additionalRoles", None)


def _session_tags(fields: Body, kind: str, result: Result) -> None:
    policy = fields.pop("sessionTagsPolicy", "None")
    custom = fields.pop("customSessionTags", None) or {}
    if policy == "None":
        return
    fields["sessionTagsPolicy"] = "Simple"
    if policy == "Custom" and custom:
        given = list(fields.get("sessionTags") or ())
        given += [{"key": key, "value": value} for key, value in sorted(custom.items())]
        fields["sessionTags"] = given
    if keys := fields.get("transitiveTagKeys"):
        fields["transitiveTagKeys"] = [_TAGS.get(key, key) for key in keys]
    of_whom = ""
    if kind == "ClusterSecretStore":
        of_whom = (
            "; syncretNamespace is there only where the credentials are those of whoever reads, "
            "since a store is one session for all who share its credentials"
        )
    result.note(
        f"{_PATH}.sessionTagsPolicy",
        "the tags are called syncretNamespace, syncretStoreName and syncretStoreKind: change the "
        f"policies that ask for esoNamespace, esoStoreName and esoStoreKind{of_whom}",
    )

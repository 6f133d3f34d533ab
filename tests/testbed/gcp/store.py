"""The state of the world: secrets and their versions, who may do what, and how it is to fail."""

import datetime as dt
import re
from dataclasses import dataclass, field
from typing import Any, Final

from google.cloud.secretmanager_v1.types import resources

from syncret.providers.gcp.crc32c import crc32c

State: Any = resources.SecretVersion.State

PROJECT: Final = "demo-project"
PROJECT_NUMBER: Final = "123456789012"

#: projects/P/secrets/S and projects/P/locations/L/secrets/S, with what follows.
NAME: Final = re.compile(
    r"projects/(?P<project>[^/]+)(/locations/(?P<location>[^/]+))?"
    r"(/secrets/(?P<secret>[^/]+)(/versions/(?P<version>[^/]+))?)?"
)


@dataclass
class Version:
    """``damaged``: its checksum is not that of its data."""

    number: int
    data: bytes
    created: dt.datetime
    state: Any = State.ENABLED
    damaged: bool = False


@dataclass
class Secret:
    """A secret; ``parent`` is projects/P or projects/P/locations/L."""

    parent: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    versions: list[Version] = field(default_factory=list)
    expires: dt.datetime | None = None
    created: dt.datetime = field(default_factory=lambda: dt.datetime.now(dt.UTC))

    @property
    def path(self) -> str:
        """Its resource name, which has the project's number, as answers do."""
        parent = self.parent.replace(f"projects/{PROJECT}", f"projects/{PROJECT_NUMBER}", 1)
        return f"{parent}/secrets/{self.name}"

    def version(self, wanted: str) -> Version | None:
        """By number, alias, or "latest": the newest, whatever its state."""
        if wanted == "latest":
            return self.versions[-1] if self.versions else None
        number = self.aliases.get(wanted) or (int(wanted) if wanted.isdigit() else 0)
        return next((one for one in self.versions if one.number == number), None)


@dataclass
class Fault:
    """How requests fail. ``operations``: which do; all if empty. ``times``: how many; 0: all."""

    kind: str
    saying: str = ""
    operations: tuple[str, ...] = ()
    retry_after: float = 0.0
    every: float = 0.1
    reason: str = ""
    times: int = 0
    done: int = 0

    def strikes(self, operation: str = "") -> bool:
        """Whether it strikes now; counted."""
        if self.operations and operation not in self.operations:
            return False
        self.done += 1
        return not self.times or self.done <= self.times


@dataclass
class Token:
    """An access token that was issued: to whom, and until when."""

    principal: str
    expires: dt.datetime
    refused: bool = False


@dataclass
class Trust:
    """A provider of a workload identity pool: whose tokens it takes, and for which audiences."""

    issuer: str
    key: str
    audiences: tuple[str, ...]
    principal: str


class Store:
    """Everything that the servers look at, and tests change."""

    def __init__(self) -> None:
        self.secrets: dict[str, Secret] = {}
        self.tokens: dict[str, Token] = {}
        self.accounts: dict[str, dict[str, str]] = {}
        self.trusts: dict[str, Trust] = {}
        self.impersonators: dict[str, set[str]] = {}
        self.metadata: dict[str, str] = {}
        self.granted: set[str] | None = None  # the principals that may do anything; None: all
        self.lifetime = 3600
        self.refused_accounts: set[str] = set()
        self.disabled = ""  # a reason, such as SERVICE_DISABLED
        self.barrier = 0
        self.denied: set[tuple[str, str]] = set()
        self.fault: Fault | None = None
        self.operations: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.logins: list[dict[str, Any]] = []
        self.login_fault: Fault | None = None
        self.peak = 0
        self.now = 0

    # What tests do, by name over HTTP: see handle.py

    def put(
        self, name: str, data: str, *, parent: str = f"projects/{PROJECT}", damaged: bool = False
    ) -> str:
        """Adds a version, its bytes in hex, and the secret if there is none; tells its number."""
        key = f"{parent}/secrets/{name}"
        secret = self.secrets.setdefault(key, Secret(parent, name))
        number = len(secret.versions) + 1
        secret.versions.append(Version(number, bytes.fromhex(data), now(), damaged=damaged))
        return str(number)

    def describe(self, name: str, *, parent: str = f"projects/{PROJECT}", **changed: Any) -> None:
        """Sets labels, annotations, aliases, or ``expires_in`` seconds."""
        secret = self.secrets[f"{parent}/secrets/{name}"]
        labels: dict[str, str] = changed.get("labels") or {}
        assert all(_is_label(part) for pair in labels.items() for part in pair), labels
        secret.labels.update(labels)
        secret.annotations.update(changed.get("annotations") or {})
        secret.aliases.update(changed.get("aliases") or {})
        if "expires_in" in changed:
            secret.expires = now() + dt.timedelta(seconds=changed["expires_in"])

    def set_state(self, name: str, version: str, state: str) -> None:
        found = self.secrets[f"projects/{PROJECT}/secrets/{name}"].version(version)
        assert found is not None
        found.state = State[state]

    def delete(self, name: str) -> None:
        del self.secrets[f"projects/{PROJECT}/secrets/{name}"]

    def deny(self, permission: str, name: str = "*") -> None:
        """Takes a permission away, on one secret or on all."""
        self.denied.add((permission, name))

    def fail(self, **how: Any) -> None:
        """Sets how requests to Secret Manager fail; without anything: they do not."""
        self.fault = _fault(how)

    def fail_logins(self, **how: Any) -> None:
        """The same for the token endpoints."""
        self.login_fault = _fault(how)

    def account(self, email: str, key: str, key_id: str) -> None:
        """A service account and the public key (PEM) that its assertions are verified with."""
        self.accounts.setdefault(email, {})[key_id] = key

    def trust(
        self, audience: str, *, issuer: str, key: str, audiences: list[str], principal: str
    ) -> None:
        """``principal``: with {sub}, {namespace} and {name} of the token's subject."""
        self.trusts[audience] = Trust(issuer, key, tuple(audiences), principal)

    def bind(self, email: str, principal: str) -> None:
        """Lets a principal act as a service account (roles/iam.workloadIdentityUser)."""
        self.impersonators.setdefault(email, set()).add(principal)

    def grant(self, principal: str) -> None:
        """From the first grant on, only principals that were granted read secrets."""
        self.granted = (self.granted or set()) | {principal}

    def serve_metadata(self, **values: str) -> None:
        """What the metadata server knows; without anything there is none."""
        self.metadata = values

    def arrange(self, **values: Any) -> None:
        """lifetime, disabled, barrier."""
        for name, value in values.items():
            assert hasattr(self, name)
            setattr(self, name, value)

    def refuse(self, email: str) -> None:
        """Tokens of that service account are given out, and not accepted."""
        self.refused_accounts.add(f"serviceAccount:{email}")

    def revoke_tokens(self) -> None:
        """All tokens that were issued so far are refused from now on."""
        for token in self.tokens.values():
            token.refused = True

    def seen(self) -> dict[str, Any]:
        return {
            "operations": self.operations,
            "requests": self.requests,
            "logins": self.logins,
            "peak": self.peak,
        }

    def count(self) -> int:
        return len(self.operations)

    def clear(self) -> None:
        """All as in the beginning, but for secrets, accounts and tokens."""
        self.granted, self.fault, self.login_fault = None, None, None
        self.denied.clear()
        self.impersonators.clear()
        self.trusts.clear()
        self.metadata = {}
        self.lifetime, self.disabled, self.barrier = 3600, "", 0
        self.operations, self.requests, self.logins = [], [], []
        self.peak = self.now

    # What the servers ask

    def find(self, parent: str, name: str) -> Secret | None:
        """The secret, if it is there and not expired."""
        key = f"{parent.replace(PROJECT_NUMBER, PROJECT, 1)}/secrets/{name}"
        secret = self.secrets.get(key)
        if secret is not None and secret.expires is not None and secret.expires <= now():
            del self.secrets[key]
            return None
        return secret

    def is_denied(self, permission: str, name: str) -> bool:
        return bool({(permission, name), (permission, "*")} & self.denied)


def _is_label(text: str) -> bool:
    """Lower-case letters (of any alphabet), digits, "-" and "_"."""
    letters = text.replace("-", "").replace("_", "")
    return len(text) <= 63 and (not letters or (letters.isalnum() and letters == letters.lower()))


def checksum(version: Version) -> int:
    return crc32c(version.data) ^ (1 if version.damaged else 0)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _fault(how: dict[str, Any]) -> Fault | None:
    if not how.get("kind"):
        return None
    return Fault(**{**how, "operations": tuple(how.get("operations") or ())})

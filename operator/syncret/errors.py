"""Every failure that Syncret knows, as one tree.

A foreign exception stops at the module that imports the foreign library and becomes one of these;
above that line nothing else is caught. Each class carries a stable ``reason`` (CamelCase: it
becomes the reason of a condition, of an Event and the label of a metric), and each instance a
message of ours that says what to do. A message never quotes a provider's text, which may hold a
secret or an id that changes with every call.

::

    SyncretError
    ├── SetupError                  the operator itself cannot start or go on
    │   └── LeadershipLost          its Lease is no longer its own: the process ends
    ├── StoreError                  what an ExternalSecret reads from is not usable
    │   ├── StoreNotFound
    │   ├── StoreNotAllowed         a ClusterSecretStore whose conditions leave the namespace out
    │   ├── KeyNotAllowed           its conditions leave the key out for the namespace
    │   ├── NamespaceUnknown        its conditions ask for labels that are not known yet
    │   ├── StoreInvalid            its spec cannot work
    │   └── CredentialsNotFound     the Secret (or key) it authenticates with is missing
    ├── ProviderError               the external store answered, or did not
    │   ├── AccessDenied            the credentials are refused, or lack a permission
    │   ├── Throttled               too many requests; ``retry_after`` in seconds, where known
    │   ├── ProviderTimeout
    │   ├── ProviderUnavailable     5xx, connection refused or reset
    │   ├── ProviderRejected        it refuses the request as such (a malformed key, say)
    │   └── GeneratedNotKept        what a generator makes cannot be written down
    ├── DataError                   what was fetched cannot become the wanted Secret
    │   ├── KeyNotFound             the store has no such key, or not that version of it
    │   ├── TooManyFound            a search that is too wide
    │   ├── PropertyNotFound
    │   ├── ValueNotJSON
    │   ├── DecodingFailed
    │   ├── NullByte                where the policy refuses them
    │   ├── PriorityNotFound        what a merge prefers is not there
    │   ├── InvalidKey              not usable as a key of a Secret
    │   ├── DuplicateKey
    │   ├── SecretTooLarge
    │   ├── TemplateError           spec.target.template, or a template that it takes from elsewhere
    │   │   ├── TemplateInvalid     it cannot be rendered with these keys
    │   │   ├── TemplateTooExpensive    it takes too much time or memory
    │   │   └── TemplateNotFound    the ConfigMap or Secret it is taken from, or a key of it
    │   ├── MetadataInvalid         labels or annotations that the Secret may not have
    │   └── TypeMismatch            the data do not fit the type of the Secret
    ├── TargetError                 the target Secret cannot be written
    │   ├── SecretNotOwned
    │   ├── SecretNotThere          nobody has made the Secret to merge into
    │   ├── SecretImmutable
    │   ├── SecretTypeDiffers
    │   ├── KeyClaimed              another ExternalSecret fills that key of a shared Secret
    │   ├── TooManyKeys             more than the record of a shared Secret has room for
    │   └── ExternalSecretNotOwned  the one that a ClusterExternalSecret was to make is another's
    ├── RendererUnavailable         the process that renders templates does not run
    ├── SpecInvalid                 an object of ours that the CRD's rules should have refused
    └── KubeError                   the Kubernetes API refused or failed
        ├── KubeNotFound
        ├── KubeConflict            a precondition (resourceVersion, uid) does not hold
        │   └── KubeAlreadyExists
        ├── KubeForbidden           the operator lacks a permission: which verb on which resource
        │   └── NamespaceTerminating
        ├── KubeUnauthorized
        ├── KubeInvalid             422 and 400: the object is refused
        ├── KubeGone                410: a list or watch must start anew
        ├── KubeThrottled           429; ``retry_after`` in seconds, where known
        ├── KubeUnavailable         5xx, no connection, or no answer in time
        └── NotLeading              not sent: another replica may lead by now
"""

from typing import ClassVar


class SyncretError(Exception):
    """Base of all. ``message`` is safe to show to anyone who may read the object it concerns."""

    reason: ClassVar[str] = "Error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def retry_after(self) -> float | None:
        """Seconds that the other side asked us to wait, where it did."""
        return None


class SetupError(SyncretError):
    reason = "SetupError"


class LeadershipLost(SetupError):
    reason = "LeadershipLost"


class SpecInvalid(SyncretError):
    reason = "SpecInvalid"


class StoreError(SyncretError):
    reason = "StoreError"


class StoreNotFound(StoreError):
    reason = "StoreNotFound"


class StoreNotAllowed(StoreError):
    reason = "StoreNotAllowed"


class KeyNotAllowed(StoreError):
    reason = "KeyNotAllowed"


class NamespaceUnknown(StoreError):
    reason = "NamespaceUnknown"


class StoreInvalid(StoreError):
    reason = "StoreInvalid"


class CredentialsNotFound(StoreError):
    reason = "CredentialsNotFound"


class ProviderError(SyncretError):
    reason = "ProviderError"


class AccessDenied(ProviderError):
    reason = "AccessDenied"


class Throttled(ProviderError):
    reason = "Throttled"

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self._retry_after = retry_after

    @property
    def retry_after(self) -> float | None:
        return self._retry_after


class ProviderTimeout(ProviderError):
    reason = "ProviderTimeout"


class ProviderUnavailable(ProviderError):
    reason = "ProviderUnavailable"


class ProviderRejected(ProviderError):
    reason = "ProviderRejected"


class GeneratedNotKept(ProviderError):
    reason = "GeneratedNotKept"


class DataError(SyncretError):
    reason = "DataError"


class KeyNotFound(DataError):
    reason = "KeyNotFound"


class TooManyFound(DataError):
    reason = "TooManyFound"


class PropertyNotFound(DataError):
    reason = "PropertyNotFound"


class ValueNotJSON(DataError):
    reason = "ValueNotJSON"


class DecodingFailed(DataError):
    reason = "DecodingFailed"


class NullByte(DataError):
    reason = "NullByte"


class PriorityNotFound(DataError):
    reason = "PriorityNotFound"


class InvalidKey(DataError):
    reason = "InvalidKey"


class DuplicateKey(DataError):
    reason = "DuplicateKey"


class SecretTooLarge(DataError):
    reason = "SecretTooLarge"


class TemplateError(DataError):
    reason = "TemplateError"


class TemplateInvalid(TemplateError):
    reason = "TemplateInvalid"


class TemplateTooExpensive(TemplateError):
    reason = "TemplateTooExpensive"


class TemplateNotFound(TemplateError):
    reason = "TemplateNotFound"


class MetadataInvalid(DataError):
    reason = "MetadataInvalid"


class TypeMismatch(DataError):
    reason = "TypeMismatch"


class RendererUnavailable(SyncretError):
    reason = "RendererUnavailable"


class TargetError(SyncretError):
    reason = "TargetError"


class SecretNotOwned(TargetError):
    reason = "SecretNotOwned"


class SecretNotThere(TargetError):
    reason = "SecretNotThere"


class SecretImmutable(TargetError):
    reason = "SecretImmutable"


class ExternalSecretNotOwned(TargetError):
    reason = "ExternalSecretNotOwned"


class SecretTypeDiffers(TargetError):
    reason = "SecretTypeDiffers"


class KeyClaimed(TargetError):
    reason = "KeyClaimed"


class TooManyKeys(TargetError):
    reason = "TooManyKeys"


class KubeError(SyncretError):
    """A failed request to the Kubernetes API; ``status``: the HTTP status, 0 without an answer."""

    reason = "KubernetesError"

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class KubeNotFound(KubeError):
    reason = "NotFound"


class KubeConflict(KubeError):
    reason = "Conflict"


class KubeAlreadyExists(KubeConflict):
    reason = "AlreadyExists"


class KubeForbidden(KubeError):
    reason = "Forbidden"


class NamespaceTerminating(KubeForbidden):
    reason = "NamespaceTerminating"


class KubeUnauthorized(KubeError):
    reason = "Unauthorized"


class KubeInvalid(KubeError):
    reason = "Invalid"


class KubeGone(KubeError):
    reason = "Gone"


class KubeThrottled(KubeError):
    reason = "KubernetesThrottled"

    def __init__(
        self, message: str, *, status: int = 429, retry_after: float | None = None
    ) -> None:
        super().__init__(message, status=status)
        self._retry_after = retry_after

    @property
    def retry_after(self) -> float | None:
        return self._retry_after


class KubeUnavailable(KubeError):
    reason = "KubernetesUnavailable"


class NotLeading(KubeError):
    reason = "NotLeading"

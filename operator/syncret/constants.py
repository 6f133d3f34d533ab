"""Names and limits that several modules share, with the source of each limit.

Only what is fixed for every installation lives here; what an administrator may choose is in
``settings.py``.
"""

from typing import Final

GROUP: Final = "syncret.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

#: Marks the Secrets that Syncret wrote; its own watch selects on it, so no other Secret's bytes
#: pass through the process.
MANAGED_LABEL: Final = f"{GROUP}/managed"
MANAGED_VALUE: Final = "true"
MANAGED_SELECTOR: Final = f"{MANAGED_LABEL}={MANAGED_VALUE}"
UNMANAGED_SELECTOR: Final = f"{MANAGED_LABEL}!={MANAGED_VALUE}"

#: On a Secret: the ExternalSecret that it is the whole of. Put there by Syncret with the first
#: write, or by the owner of a Secret that is to be taken over.
OWNER_ANNOTATION: Final = f"{GROUP}/owner"

#: On a Secret that several fill: which keys are whose (``api/claims.py``).
KEYS_ANNOTATION: Final = f"{GROUP}/merged-keys"
#: On a Secret: which of its keys are values from before a rotation (``api/previous.py``).
PREVIOUS_ANNOTATION: Final = f"{GROUP}/previous-values"
#: On a Secret: which of its labels and annotations a template gave it.
METADATA_ANNOTATION: Final = f"{GROUP}/template-metadata"

#: On the pod template of a workload: what each Secret held when the workload last (re)started.
CHECKSUM_ANNOTATION: Final = f"{GROUP}/secrets-checksum"

#: On a workload with Reloader's annotations, and on its pod template: the same, of what those name.
RELOAD_ANNOTATION: Final = f"{GROUP}/reload-checksum"

#: On a workload or a namespace: whether its pods may be restarted, "true" or "false".
ROLLOUT_ANNOTATION: Final = f"{GROUP}/rollout"

#: On an ExternalSecret: any new value asks for one refresh.
FORCE_SYNC_ANNOTATION: Final = f"{GROUP}/force-sync"

#: On an ExternalSecret: any new value asks for one rotation of what it reads.
ROTATE_ANNOTATION: Final = f"{GROUP}/rotate"

#: On an ExternalSecret: a replica that works on other namespaces has heard that the store changed.
EVENT_ANNOTATION: Final = f"{GROUP}/event"

#: On an ExternalSecret that a ClusterExternalSecret made: a digest of what was written.
STAMP_ANNOTATION: Final = f"{GROUP}/stamp"

#: The only field of a JSON object that stands for bytes, which JSON cannot say: their base64. A
#: provider writes it where a store's value has parts that are no text.
BASE64_FIELD: Final = f"{GROUP}/base64"

#: The Secret in which is kept what generators made for an ExternalSecret: what its name begins with
#: (its uid follows), its type, and the annotation with all that is known besides the values.
GENERATED_PREFIX: Final = "syncret-generated-"
GENERATED_TYPE: Final = f"{GROUP}/generated"
GENERATED_ANNOTATION: Final = f"{GROUP}/generated"

#: Field managers. The API server refuses names over 128 characters.
FIELD_MANAGER: Final = "syncret"
ROLLOUT_FIELD_MANAGER: Final = "syncret-rollout"
RELOAD_FIELD_MANAGER: Final = "syncret-reload"
STAMP_FIELD_MANAGER: Final = "syncret-stamp"
EVENT_FIELD_MANAGER: Final = "syncret-event"

#: ``controller.reportingController`` of our Events.
REPORTING_CONTROLLER: Final = f"{GROUP}/operator"

#: Kubernetes' own limits: pkg/apis/core/validation (MaxSecretSize, IsConfigMapKey).
MAX_SECRET_BYTES: Final = 1024 * 1024
MAX_SECRET_KEY_LENGTH: Final = 253
#: The same for all annotations of an object (TotalAnnotationSizeLimitB), less what is ours.
MAX_ANNOTATIONS_BYTES: Final = 240 * 1024

#: What one entry of ``spec.dataFrom`` may give, before it is rewritten: keys, and bytes.
MAX_KEYS: Final = 4096
MAX_RAW_BYTES: Final = 8 * MAX_SECRET_BYTES

#: Remote secrets that one ``find`` may find, and of which ``status.sources`` tells.
MAX_FOUND: Final = 1000
MAX_SOURCES: Final = 640

#: Keys with certificates of which ``status.certificates`` tells.
MAX_CERTIFICATES: Final = 640

#: The Secret in the operator's namespace that holds the key of every keyed digest.
DIGEST_KEY_SECRET: Final = "syncret-digest-key"  # noqa: S105 - a name

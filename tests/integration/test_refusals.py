"""What the API server refuses before the operator sees it, in the words that a person sees.

Asked with ``kubectl apply``, as a dry run on the server: every rule is applied and nothing stays.
"""

import copy
import json
import re
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
import yaml

from integration import manifests
from integration.manifests import entry, remote
from integration.world import World, Worlds
from testbed.cluster import Cluster, CommandError
from testbed.operator import REPOSITORY

Body = dict[str, Any]


class _Absent(Enum):
    """What takes a field out; its text is the same in each process that collects the tests."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return self.name


ABSENT = _Absent.ABSENT

EXTERNAL_SECRET = manifests.external_secret(
    "NAMESPACE",
    data=[entry("k", "key"), entry("l", "key", "a.b.0", "AWSPREVIOUS")],
    extract=[remote("key", "p", "v")],
    target={
        "name": "t",
        "creationPolicy": "Owner",
        "deletionPolicy": "Delete",
        "immutable": True,
    },
    rollout={"mode": "Auto", "debounce": "1s", "maxConcurrent": 1, "timeout": "10m"},
)
EXTERNAL_SECRET["spec"]["secretStoreRef"]["kind"] = "SecretStore"
EXTERNAL_SECRET["spec"] |= {
    "refreshPolicy": "Periodic",
    "syncWindows": [
        {"kind": "Allow", "schedule": "0 2 * * 1-5", "duration": "2h", "timeZone": "Europe/Berlin"}
    ],
}
EXTERNAL_SECRET["spec"]["dataFrom"] += [
    {
        "find": {"path": "app/", "name": {"regexp": "^api-"}, "tags": {"team": "a"}},
        "rewrite": [
            {"regexp": {"source": "^api-(.*)$", "target": "$1"}},
            {"merge": {"priority": ["a"], "priorityPolicy": "Strict", "conflictPolicy": "Error"}},
            {"merge": {"strategy": "JSON", "into": "all"}},
        ],
        "sourceRef": {"storeRef": {"name": "own"}},
        "optional": True,
    }
]
STORE = manifests.store("NAMESPACE", "https://secretsmanager.example.com:8443/path", name="tried")
CLUSTER_STORE = manifests.cluster_store(
    "NAMESPACE",
    "http://[::1]:4566",
    credentials_in="ns",
    namespaces=["ns"],
    conditions=[
        {
            "namespaceRegexes": ["team-.*", "a|b"],
            "namespaceSelector": {
                "matchLabels": {"example.com/team": "a"},
                "matchExpressions": [
                    {"key": "a", "operator": "In", "values": ["b"]},
                    {"key": "c", "operator": "Exists"},
                ],
            },
            "remoteKeys": ["production/{namespace}/*", "x-?"],
        }
    ],
    controller="blue-1.b",
    refreshInterval="10m",
)
STAMPING = manifests.cluster_external_secret(
    "NAMESPACE",
    labels={"example.com/team": "a"},
    namespaces=["a"],
    externalSecretName="app",
    externalSecretMetadata={"labels": {"a/b": "c"}, "annotations": {"a/b": "any text"}},
    spec=EXTERNAL_SECRET["spec"],
)
GOOD = {"es": EXTERNAL_SECRET, "ss": STORE, "css": CLUSTER_STORE, "ces": STAMPING}

AWS = "spec.provider.aws"
SELECTOR = f"{AWS}.auth.secretRef.accessKeyIDSecretRef"

NOTHING_TO_READ = (
    "nothing to read: name single values under spec.data, or whole secrets under spec.dataFrom"
)
INTERVAL = (
    "refreshInterval must be a duration of at least 1s, written with the units h, m and s, such as "
    '"30s", "15m" or "1h30m" (a day is "24h"), or 0 for no refreshes by the clock'
)
WINDOWS = "spec.syncWindows[0]"
SCHEDULE = (
    "schedule must be the five fields of cron, each after one blank: minute, hour, day of month, "
    'month, day of week, such as "0 2 * * 1-5"'
)
WINDOW_DURATION = (
    "duration must be between 1m and 168h (a week), written with the units h, m and s, such as "
    '"90m" or "2h"'
)
TIME_ZONE = (
    "timeZone must be a name of the IANA database, such as UTC, Europe/Berlin or America/New_York"
)
NO_STORE = (
    "spec.secretStoreRef: Required value: name the store that everything is read from under "
    "spec.secretStoreRef, or give every entry of data and dataFrom a sourceRef"
)
NO_CLOCK = (
    "syncWindows are for refreshes by the clock, of which there are none here: leave them out, or "
    "set the refreshPolicy Periodic and a refreshInterval"
)
ONE_SOURCE = (
    "an entry of dataFrom has either extract, for one secret, or find, for all secrets that match"
)
FIND = "spec.dataFrom[1].find"
NOTHING_TO_FIND = "find must say what to look for: name a path, a name.regexp or tags (the regexp"
RE2 = "must be a regular expression of RE2, which has neither look-around nor back-references"
REWRITE = "spec.dataFrom[1].rewrite[0]"
MERGE = "spec.dataFrom[1].rewrite[1].merge"
INTO = (
    f"{MERGE}.into: Invalid value: into names the key of the merged JSON: set it with the strategy "
    "JSON, and leave it out with Extract"
)
TARGETS = (
    "spec.rollout.targets: Invalid value: targets belong to the mode Targets: write both, or "
    "neither of them"
)
TARGET = "Invalid value: a target is either a kind and a name, or a selector"
API = {"kind": "Deployment", "name": "api"}
LABELS = {"selector": {"matchLabels": {"app": "api"}}}
DEBOUNCE = (
    "debounce must be a duration of at most 1h, written with the units h, m, s and ms, such as "
    '"5s" or "1m30s"'
)
TIMEOUT = (
    "timeout must be between 1s and 24h, written with the units h, m and s, such as "
    '"10m" or "1h30m"'
)
SECRET_KEY = (
    'secretKey must be usable as a key of a Secret: letters, digits, "-", "_" and "." only, '
    'neither "." nor beginning with ".."'
)
NAME = 'lower-case letters, digits, "-" and ".", beginning and ending with a letter or digit'
ENDPOINT = (
    "endpoint must be an http:// or https:// URL with a host and, if needed, a port and a path, "
    "without user name, password, query or fragment, such as "
    '"https://secretsmanager.example.com:8443"'
)
STORE_KINDS = (
    'spec.secretStoreRef.kind: Unsupported value: "Vault": supported values: "SecretStore", '
    '"ClusterSecretStore"'
)
SERVICES = (
    'Unsupported value: "CertificateManager": supported values: "SecretsManager", "ParameterStore"'
)
ROLE_ARN = 'the ARN of a role, such as "arn:aws:iam::111122223333:role/syncret"'
NEEDS_ROLE = (
    "additionalRoles, externalID, sessionTags, transitiveTagKeys and sessionTagsPolicy need a role "
    "to assume: set role"
)
SESSION = (
    "sessionDuration must be a duration from 15m to 12h, written with the units h, m and s, such "
    'as "1h"'
)
REGION_CODE = 'region must be the code of an AWS region, such as "eu-central-1"'
ONE_AUTH_OR_NONE = (
    "name exactly one way to authenticate under auth (this version has: secretRef, jwt), or leave "
    "out auth altogether to use the operator's own identity"
)
SECRET_NAME = f"must be the name of a Secret: {NAME}"
KEY = 'must be a key of a Secret: letters, digits, "-", "_" and "." only'
NAMESPACE = (
    'must be the name of a namespace: lower-case letters, digits and "-", beginning and ending '
    "with a letter or digit"
)
ONE_NAMESPACE = (
    'must be the name of one namespace: lower-case letters, digits and "-"; for patterns there is '
    "namespaceRegexes"
)
WHICH_NAMESPACES = (
    "say which namespaces this entry admits: by namespaces (names), namespaceSelector (labels) or "
    "namespaceRegexes; namespaceSelector {} admits every namespace"
)
REGEX = (
    "must be a regular expression of RE2, which has neither look-around nor back-references, such "
    'as "team-.*"'
)
BRACES = (
    "has braces, and the only placeholder is {namespace}, which stands for the name of the "
    "namespace that reads"
)
VALUES = "give values with the operators In and NotIn, and none with Exists and DoesNotExist"
CHECK_INTERVAL = (
    "refreshInterval must be a duration of at least 10s, or 0s for no regular check, written with "
    'the units h, m and s, such as "10m" or "1h30m" (a day is "24h")'
)
CLASS = (
    "controller must be the class of an operator, as it is given to it with --controller-class: "
    'letters, digits, "-", "_" and ".", beginning and ending with a letter or digit'
)
NOTHING_SELECTED = (
    "no namespace is selected: name some under spec.namespaces, or select some by their labels "
    "under spec.namespaceSelectors"
)
EMBEDDED = "spec.externalSecretSpec"
AGE = (
    'must be a time from 1s to 3650d: days, such as "{}", or a duration with the units h, m and s, '
    'such as "36h" or "1h30m"'
)
PREVIOUS = "spec.target.previous"
CHANGEABLE = {"spec.target.immutable": ABSENT, "spec.data.1.secretKey": "l"}

Refusal = tuple[str, dict[str, Any], str]


def _of_both(kind: str) -> list[Refusal]:
    """What SecretStore and ClusterSecretStore refuse alike."""
    return [
        (kind, {f"{AWS}.service": ABSENT}, f"{AWS}.service: Required value"),
        (
            kind,
            {f"{AWS}.service": "CertificateManager"},
            f"{AWS}.service: {SERVICES}",
        ),
        (kind, {f"{AWS}.region": ABSENT}, f"{AWS}.region: Required value"),
        (kind, {f"{AWS}.role": "reader"}, f"{AWS}.role: Invalid value: role must be {ROLE_ARN}"),
        (kind, {f"{AWS}.externalID": "id-1"}, f"{AWS}: Invalid value: {NEEDS_ROLE}"),
        (kind, {f"{AWS}.sessionTagsPolicy": "Simple"}, f"{AWS}: Invalid value: {NEEDS_ROLE}"),
        (
            kind,
            {f"{AWS}.sessionDuration": "1h"},
            f"{AWS}: Invalid value: sessionDuration needs a role to assume: set role",
        ),
        *(
            (
                kind,
                {f"{AWS}.sessionDuration": text},
                f"{AWS}.sessionDuration: Invalid value: {SESSION}",
            )
            for text in ("14m", "13h", "1d")
        ),
        (kind, {f"{AWS}.prefix": "a b"}, f"{AWS}.prefix: Invalid value: prefix must be"),
        (
            kind,
            {f"{AWS}.auth.jwt": {"serviceAccountRef": {"name": "reader"}}},
            "name exactly one way to authenticate under auth",
        ),
        (
            kind,
            {f"{AWS}.region": "EU (Frankfurt)"},
            f"{AWS}.region: Invalid value: {REGION_CODE}",
        ),
        *(
            (kind, {f"{AWS}.endpoint": url}, f"{AWS}.endpoint: Invalid value: {ENDPOINT}")
            for url in ("moto:5000", "https://", "https://u:p@host", "http://h/?a=b", "ftp://h")
        ),
        (kind, {SELECTOR: ABSENT}, f"{SELECTOR}: Required value"),
        (kind, {f"{SELECTOR}.name": "A_b"}, f"{SELECTOR}.name: Invalid value: {SECRET_NAME}"),
        (kind, {f"{SELECTOR}.key": ABSENT}, f"{SELECTOR}.key: Required value"),
        (kind, {f"{SELECTOR}.key": "a b"}, f"{SELECTOR}.key: Invalid value: {KEY}"),
        *(
            (
                kind,
                {"spec.refreshInterval": text},
                f"spec.refreshInterval: Invalid value: {CHECK_INTERVAL}",
            )
            for text in ("", "9s", "300", "-1m", "1d")
        ),
        *(
            (kind, {"spec.controller": text}, f"spec.controller: Invalid value: {CLASS}")
            for text in ("-a", "a b", "a/b")
        ),
        (kind, {"spec.retrySettings": {}}, 'unknown field "spec.retrySettings"'),
    ]


#: Which object, what is set where in it, and what kubectl says.
REFUSED: list[Refusal] = [
    ("es", {"spec.data": ABSENT, "spec.dataFrom": ABSENT}, NOTHING_TO_READ),
    ("es", {"spec.data": [], "spec.dataFrom": []}, NOTHING_TO_READ),
    ("es", {"spec": ABSENT}, "spec: Required value"),
    ("es", {"spec.secretStoreRef": ABSENT}, NO_STORE),
    (
        "es",
        {"spec.secretStoreRef": ABSENT, "spec.dataFrom": ABSENT},
        NO_STORE,
    ),
    ("es", {"spec.secretStoreRef": {}}, "spec.secretStoreRef.name: Required value"),
    ("es", {"spec.secretStoreRef.name": ""}, "spec.secretStoreRef.name"),
    (
        "es",
        {"spec.secretStoreRef.name": "My_Store"},
        f"spec.secretStoreRef.name: Invalid value: must be the name of a store: {NAME}",
    ),
    (
        "es",
        {"spec.secretStoreRef.kind": "Vault"},
        STORE_KINDS,
    ),
    *(
        ("es", {"spec.refreshInterval": text}, f"spec.refreshInterval: Invalid value: {INTERVAL}")
        for text in ("", "1d", "30", "00", "999ms", "-5s", "1h 30m", "ten", "1.h", "123456h")
    ),
    ("es", {"spec.refreshInterval": 30}, 'spec.refreshInterval: Invalid value: "integer"'),
    (
        "es",
        {"spec.target.name": "Upper"},
        f"spec.target.name: Invalid value: {SECRET_NAME}",
    ),
    (
        "es",
        {"spec.target.creationPolicy": "Mine"},
        (
            'spec.target.creationPolicy: Unsupported value: "Mine": supported values: "Owner", '
            '"Orphan", "Merge", "CreateOrMerge", "None"'
        ),
    ),
    (
        "es",
        {"spec.target.deletionPolicy": "Keep"},
        (
            'spec.target.deletionPolicy: Unsupported value: "Keep": supported values: "Retain", '
            '"Delete", "Merge"'
        ),
    ),
    *(
        (
            "es",
            {"spec.target.creationPolicy": policy, "spec.target.immutable": ABSENT},
            (
                "spec.target.deletionPolicy: Invalid value: Delete removes the whole Secret, so it "
                "needs the creationPolicy Owner; Merge removes the keys that are gone"
            ),
        )
        for policy in ("Orphan", "Merge", "CreateOrMerge", "None")
    ),
    *(
        (
            "es",
            {
                "spec.target.creationPolicy": "None",
                "spec.target.deletionPolicy": policy,
                "spec.target.immutable": ABSENT,
            },
            (
                "spec.target.deletionPolicy: Invalid value: deletionPolicy has no meaning with the "
                "creationPolicy None, which writes no Secret: leave it out"
            ),
        )
        for policy in ("Retain", "Merge")
    ),
    *(
        (
            "es",
            {"spec.target.creationPolicy": policy, "spec.target.deletionPolicy": ABSENT},
            (
                "spec.target.immutable: Invalid value: immutable needs the creationPolicy Owner "
                "or Orphan, because a shared Secret is not one ExternalSecret's to freeze: leave "
                "it out"
            ),
        )
        for policy in ("Merge", "CreateOrMerge", "None")
    ),
    (
        "es",
        {PREVIOUS: {}},
        (
            f"{PREVIOUS}: Invalid value: previous needs a Secret that can be changed, because the "
            "value before could not be taken away again from an immutable one: leave one of the "
            "two out"
        ),
    ),
    (
        "es",
        {
            **CHANGEABLE,
            PREVIOUS: {},
            "spec.target.creationPolicy": "None",
            "spec.target.deletionPolicy": ABSENT,
        },
        (
            f"{PREVIOUS}: Invalid value: previous has no meaning with the creationPolicy None, "
            "which writes no Secret: leave it out"
        ),
    ),
    *(
        (
            "es",
            {**CHANGEABLE, PREVIOUS: {"suffix": suffix}},
            (
                f'{PREVIOUS}.suffix: Invalid value: suffix must be letters, digits, "-", "_" and '
                '".", of which the keys of a Secret consist'
            ),
        )
        for suffix in ("/old", " ", "ä", "\n")
    ),
    ("es", {**CHANGEABLE, PREVIOUS: {"suffix": ""}}, f"{PREVIOUS}.suffix"),
    *(
        (
            "es",
            {**CHANGEABLE, PREVIOUS: {"keepFor": age}},
            f"{PREVIOUS}.keepFor: Invalid value: keepFor {AGE.format('7d')}",
        )
        for age in ("", "0s", "0d", "3651d", "500ms", "1.5d", "87601h", "a day", "1d12h")
    ),
    *(
        (
            "es",
            {**CHANGEABLE, PREVIOUS: previous, "spec.data.0.secretKey": key},
            (
                f"{PREVIOUS}: Invalid value: a secretKey of data ends with the suffix under which "
                "values before a rotation are kept: choose another suffix, or rename the key"
            ),
        )
        for previous, key in (({}, "k_previous"), ({"suffix": ".old"}, "k.old"))
    ),
    (
        "es",
        {
            **CHANGEABLE,
            PREVIOUS: {},
            "spec.target.template": {"data": {"a_previous": "x"}},
        },
        (
            f"{PREVIOUS}: Invalid value: a key of template.data ends with the suffix under which "
            "values before a rotation are kept: choose another suffix, or rename the key"
        ),
    ),
    (
        "es",
        {"spec.rotation": {}},
        (
            "spec.rotation: Invalid value: rotation says how old something may become: name its "
            "class, or an age in maxAge"
        ),
    ),
    (
        "es",
        {"spec.rotation": {"class": "password"}},
        'spec.rotation.class: Unsupported value: "password": supported values: "database"',
    ),
    (
        "es",
        {"spec.rotation": {"maxAge": "2w"}},
        f"spec.rotation.maxAge: Invalid value: maxAge {AGE.format('30d')}",
    ),
    (
        "es",
        {"spec.rotation": {"class": "database", "revokeAfter": "1h"}},
        "revokeAfter is about credentials that a generator makes",
    ),
    *(
        (
            "es",
            {"spec.data.0.secretKey": key},
            f"spec.data[0].secretKey: Invalid value: {SECRET_KEY}",
        )
        for key in ("a key", "a/b", "ä", ".", "..", "..data", "a\n")
    ),
    ("es", {"spec.data.0.secretKey": ""}, "spec.data[0].secretKey"),
    ("es", {"spec.data.0.secretKey": ABSENT}, "spec.data[0].secretKey: Required value"),
    (
        "es",
        {"spec.data.0.secretKey": "k" * 254},
        "spec.data[0].secretKey: Too long: may not be more than 253 bytes",
    ),
    ("es", {"spec.data.1.secretKey": "k"}, 'spec.data[1]: Duplicate value: {"secretKey":"k"}'),
    ("es", {"spec.data.0.remoteRef": ABSENT}, "spec.data[0].remoteRef: Required value"),
    ("es", {"spec.data.0.remoteRef.key": ABSENT}, "spec.data[0].remoteRef.key: Required value"),
    ("es", {"spec.data.0.remoteRef.key": ""}, "spec.data[0].remoteRef.key: Invalid value"),
    ("es", {"spec.data.0.remoteRef.key": "k" * 2049}, "spec.data[0].remoteRef.key: Too long"),
    (
        "es",
        {"spec.data.0.remoteRef.propertyy": "p"},
        'unknown field "spec.data[0].remoteRef.propertyy"',
    ),
    ("es", {"spec.dataFrom.0": {}}, f"spec.dataFrom[0]: Invalid value: {ONE_SOURCE}"),
    (
        "es",
        {"spec.dataFrom.0.find": {"path": "x"}},
        f"spec.dataFrom[0]: Invalid value: {ONE_SOURCE}",
    ),
    (
        "es",
        {"spec.dataFrom.0.extract.metadataPolicy": "Fetch"},
        (
            "spec.dataFrom[0].extract.version: Invalid value: version has no meaning with the "
            "metadataPolicy Fetch, because metadata have no versions: leave one of them out"
        ),
    ),
    (
        "es",
        {"spec.data.1.remoteRef.metadataPolicy": "Fetch"},
        "spec.data[1].remoteRef.version: Invalid value: version has no meaning",
    ),
    (
        "es",
        {"spec.data.0.remoteRef.decodingStrategy": "Base32"},
        'supported values: "None", "Base64", "Base64URL", "Auto"',
    ),
    (
        "es",
        {"spec.data.0.remoteRef.conversionStrategy": "Default"},
        'unknown field "spec.data[0].remoteRef.conversionStrategy"',
    ),
    ("es", {"spec.data.0.sourceRef": {}}, "spec.data[0].sourceRef.storeRef: Required value"),
    (
        "es",
        {"spec.data.0.sourceRef": {"storeRef": {"name": "A"}}},
        f"spec.data[0].sourceRef.storeRef.name: Invalid value: must be the name of a store: {NAME}",
    ),
    (
        "es",
        {"spec.data.0.optional": "yes"},
        "spec.data[0].optional: Invalid value: spec.data[0].optional",
    ),
    ("es", {FIND: {}}, f"{FIND}: Invalid value: {NOTHING_TO_FIND}"),
    ("es", {FIND: {"conversionStrategy": "Default"}}, f"{FIND}: Invalid value: {NOTHING_TO_FIND}"),
    ("es", {f"{FIND}.path": ""}, f"{FIND}.path"),
    ("es", {f"{FIND}.tags": {}}, f"{FIND}.tags"),
    *(
        ("es", {f"{FIND}.name.regexp": regexp}, RE2)
        for regexp in ("(", "a(?=b)", r"(a)\1", "[z-a]", "a{2,1}")
    ),
    ("es", {f"{REWRITE}.regexp.source": "("}, RE2),
    ("es", {f"{REWRITE}.regexp.target": ABSENT}, f"{REWRITE}.regexp.target: Required value"),
    *(
        (
            "es",
            {REWRITE: step},
            (
                f"{REWRITE}: Invalid value: a step of rewrite has one of regexp and transform, "
                "which rename keys, and merge, which merges values"
            ),
        )
        for step in (
            {},
            {"regexp": {"source": "a", "target": "b"}, "merge": {}},
            {"transform": {"template": "a"}, "merge": {}},
        )
    ),
    ("es", {"spec.rollout.mode": "Targets"}, TARGETS),
    ("es", {"spec.rollout.targets": [API]}, TARGETS),
    *(
        ("es", {"spec.rollout": {"mode": "Targets", "targets": [target]}}, TARGET)
        for target in ({}, {"name": "api"}, {"kind": "Deployment"}, {**API, **LABELS})
    ),
    (
        "es",
        {"spec.rollout": {"mode": "Targets", "targets": [{"kind": "Job", "name": "x"}]}},
        'supported values: "Deployment", "StatefulSet", "DaemonSet", "Rollout"',
    ),
    *(
        ("es", {"spec.rollout.debounce": text}, f"spec.rollout.debounce: Invalid value: {DEBOUNCE}")
        for text in ("2h", "5", "-1s", "")
    ),
    *(
        ("es", {"spec.rollout.timeout": text}, f"spec.rollout.timeout: Invalid value: {TIMEOUT}")
        for text in ("0s", "25h", "10", "500ms")
    ),
    ("es", {"spec.rollout.maxConcurrent": 0}, "should be greater than or equal to 1"),
    (
        "es",
        {"spec.rollout.windows": [{"kind": "Allow", "schedule": "@daily", "duration": "1h"}]},
        f"spec.rollout.windows[0].schedule: Invalid value: {SCHEDULE}",
    ),
    ("es", {f"{MERGE}.into": "x"}, INTO),
    ("es", {f"{MERGE}.strategy": "JSON"}, INTO),
    (
        "es",
        {f"{MERGE}.priority": ABSENT},
        (
            f"{MERGE}.priorityPolicy: Invalid value: priorityPolicy is about the keys under "
            "priority, and there are none: leave it out"
        ),
    ),
    (
        "es",
        {"spec.refreshPolicy": "Sometimes"},
        'supported values: "Periodic", "OnChange", "CreatedOnce"',
    ),
    *(
        (
            "es",
            {"spec.refreshPolicy": policy, "spec.syncWindows": ABSENT},
            (
                "spec.refreshInterval: Invalid value: refreshInterval has no meaning with the "
                "refreshPolicy OnChange or CreatedOnce: leave it out"
            ),
        )
        for policy in ("OnChange", "CreatedOnce")
    ),
    (
        "es",
        {"spec.refreshPolicy": "OnChange", "spec.refreshInterval": ABSENT},
        f"spec.syncWindows: Invalid value: {NO_CLOCK}",
    ),
    ("es", {"spec.refreshInterval": "0"}, f"spec.syncWindows: Invalid value: {NO_CLOCK}"),
    *(
        ("es", {f"{WINDOWS}.schedule": text}, f"{WINDOWS}.schedule: Invalid value: {SCHEDULE}")
        for text in ("@daily", "0 2 * *", "0 0 2 * * *", "0  2 * * *", "2h")
    ),
    *(
        (
            "es",
            {f"{WINDOWS}.duration": text},
            f"{WINDOWS}.duration: Invalid value: {WINDOW_DURATION}",
        )
        for text in ("59s", "169h", "1d", "0", "")
    ),
    *(
        ("es", {f"{WINDOWS}.timeZone": text}, f"{WINDOWS}.timeZone: Invalid value: {TIME_ZONE}")
        for text in ("+02:00", "../etc", "Europe/", "Europe Berlin")
    ),
    ("es", {f"{WINDOWS}.kind": "allow"}, 'supported values: "Allow", "Deny"'),
    ("es", {f"{WINDOWS}.schedule": ABSENT}, f"{WINDOWS}.schedule: Required value"),
    ("es", {"spec.dataFrom.0.extract.key": ABSENT}, "spec.dataFrom[0].extract.key: Required value"),
    (
        "es",
        {"spec.rollout.mode": "Always"},
        (
            'spec.rollout.mode: Unsupported value: "Always": supported values: "Auto", "Targets", '
            '"None"'
        ),
    ),
    ("es", {"spec.refreshIntervall": "1h"}, 'unknown field "spec.refreshIntervall"'),
    ("es", {"spec.target.manifest": {}}, 'unknown field "spec.target.manifest"'),
    ("es", {"spec.data": {"k": "v"}}, 'unknown field "spec.data.k"'),
    ("ss", {"spec": ABSENT}, "spec: Required value"),
    ("ss", {"spec.provider": ABSENT}, "spec.provider: Required value"),
    (
        "ss",
        {"spec.provider": {}},
        "name exactly one kind of store under spec.provider; this version has: aws",
    ),
    ("ss", {"spec.provider.barbican": {}}, 'unknown field "spec.provider.barbican"'),
    ("ss", {"spec.conditions": [{"namespaces": ["a"]}]}, 'unknown field "spec.conditions"'),
    ("ss", {f"{SELECTOR}.namespace": "other"}, f'unknown field "{SELECTOR}.namespace"'),
    (
        "ss",
        {f"{AWS}.auth": {}},
        "name exactly one way to authenticate under auth; this version has: secretRef, jwt",
    ),
    (
        "css",
        {f"{AWS}.auth": {}},
        ONE_AUTH_OR_NONE,
    ),
    ("css", {f"{SELECTOR}.namespace": "A"}, f"{SELECTOR}.namespace: Invalid value: {NAMESPACE}"),
    ("css", {"spec.conditions": [{}]}, f"spec.conditions[0]: Invalid value: {WHICH_NAMESPACES}"),
    (
        "css",
        {"spec.conditions": [{"remoteKeys": ["a"]}]},
        f"spec.conditions[0]: Invalid value: {WHICH_NAMESPACES}",
    ),
    *(
        (
            "css",
            {"spec.conditions.1.namespaceRegexes": ["a", text]},
            f"{REGEX}",
        )
        for text in ("(", "(?=a)", "a{1001}", "[z-a]")
    ),
    *(
        (
            "css",
            {"spec.conditions.1.remoteKeys": [text]},
            f"spec.conditions[1].remoteKeys[0]: Invalid value: {BRACES}",
        )
        for text in ("{name}/*", "{namespace", "{{namespace}}", "}")
    ),
    ("css", {"spec.conditions.1.remoteKeys": []}, "spec.conditions[1].remoteKeys"),
    *(
        (
            "css",
            {"spec.conditions.1.namespaceSelector.matchExpressions": [expression]},
            f"spec.conditions[1].namespaceSelector.matchExpressions[0]: Invalid value: {VALUES}",
        )
        for expression in (
            {"key": "a", "operator": "In"},
            {"key": "a", "operator": "NotIn", "values": []},
            {"key": "a", "operator": "Exists", "values": ["b"]},
        )
    ),
    (
        "css",
        {"spec.conditions.1.namespaceSelector.matchExpressions.0.operator": "Is"},
        'matchExpressions[0].operator: Unsupported value: "Is": supported values: "In", "NotIn"',
    ),
    ("ces", {"spec": ABSENT}, "spec: Required value"),
    ("ces", {EMBEDDED: ABSENT}, f"{EMBEDDED}: Required value"),
    ("ces", {"spec.namespaces": ABSENT, "spec.namespaceSelectors": ABSENT}, NOTHING_SELECTED),
    ("ces", {"spec.namespaces": [], "spec.namespaceSelectors": []}, NOTHING_SELECTED),
    ("ces", {"spec.namespaces": ["team-*"]}, "spec.namespaces[0]: Invalid value: must be the name"),
    (
        "ces",
        {"spec.externalSecretName": "A_b"},
        f"spec.externalSecretName: Invalid value: must be the name of an ExternalSecret: {NAME}",
    ),
    (
        "ces",
        {"spec.externalSecretMetadata.annotations": {"syncret.io/stamp": "x"}},
        "syncret.io/stamp is how Syncret knows what it has written: leave that annotation out",
    ),
    ("ces", {"spec.refreshTime": "1m"}, 'unknown field "spec.refreshTime"'),
    ("ces", {f"{EMBEDDED}.data": ABSENT, f"{EMBEDDED}.dataFrom": ABSENT}, NOTHING_TO_READ),
    (
        "ces",
        {f"{EMBEDDED}.refreshInterval": "1d"},
        f"{EMBEDDED}.refreshInterval: Invalid value: {INTERVAL}",
    ),
    (
        "ces",
        {f"{EMBEDDED}.data.0.remoteRef.propertyy": "p"},
        f'unknown field "{EMBEDDED}.data[0].remoteRef.propertyy"',
    ),
    ("css", {"spec.conditions": [{"namespaces": []}]}, "spec.conditions[0].namespaces"),
    (
        "css",
        {"spec.conditions": [{"namespaces": ["team-*"]}]},
        f"spec.conditions[0].namespaces[0]: Invalid value: {ONE_NAMESPACE}",
    ),
    (
        "css",
        {"spec.conditions": [{"namespaces": ["a", "a"]}]},
        'spec.conditions[0].namespaces[1]: Duplicate value: "a"',
    ),
    *(case for kind in ("ss", "css") for case in _of_both(kind)),
]


@pytest.fixture(scope="module")
def quiet_world(worlds: Worlds) -> Iterator[World]:
    """A namespace for what is never made. No operator is needed."""
    world = worlds.new()
    yield world
    world.clear()


def in_namespace(body: Body, namespace: str) -> Body:
    body = copy.deepcopy(body)
    if body["kind"].startswith("Cluster"):
        body["metadata"]["name"] = f"shared-{namespace}"
    else:
        body["metadata"]["namespace"] = namespace
    return body


def changed(body: Body, changes: dict[str, Any]) -> Body:
    """A copy with other values at dotted paths."""
    body = copy.deepcopy(body)
    for path, value in changes.items():
        *steps, last = path.replace("[", ".").replace("]", "").split(".")
        place: Any = body
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place.setdefault(step, {})
        if value is ABSENT:
            del place[last]
        elif isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value
    return body


def tried(cluster: Cluster, body: Body, verb: str = "apply") -> str:
    """What kubectl says to it, whichever way it goes."""
    try:
        return cluster.kubectl(
            *(verb, "--dry-run=server", "--validate=strict", "-f", "-"), stdin=json.dumps(body)
        )
    except CommandError as error:
        return str(error)


def named(case: Refusal) -> str:
    kind, changes, _ = case
    (path, value), *_ = changes.items()
    text = "absent" if value is ABSENT else json.dumps(value)
    return f"{kind}-{path}-{text[:20]}"


@pytest.mark.parametrize("kind", GOOD)
def test_what_is_right_is_accepted(kind: str, quiet_world: World, installed: Cluster) -> None:
    """And so every refusal below is due to its one change."""
    body = in_namespace(GOOD[kind], quiet_world.namespace)

    assert "created (server dry run)" in tried(installed, body)


@pytest.mark.parametrize("case", REFUSED, ids=named)
def test_what_is_wrong_is_refused_with_a_sentence(
    case: Refusal, quiet_world: World, installed: Cluster
) -> None:
    kind, changes, sentence = case
    body = changed(in_namespace(GOOD[kind], quiet_world.namespace), changes)

    said = tried(installed, body)

    assert "dry run" not in said.replace("--dry-run", ""), "it was accepted"
    assert sentence in re.sub(r'Invalid value: "(string|object)": ', "Invalid value: ", said)


@pytest.mark.parametrize(
    "interval", ["1s", "90s", "1h30m", "0.5h", "1500ms", "24h", "99999h", "1h0m0.5s"]
)
def test_every_usual_duration_is_accepted(
    interval: str, quiet_world: World, installed: Cluster
) -> None:
    body = in_namespace(EXTERNAL_SECRET, quiet_world.namespace)

    assert "dry run" in tried(installed, changed(body, {"spec.refreshInterval": interval}))


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.refreshInterval": "0", "spec.syncWindows": ABSENT},
        {"spec.refreshInterval": "0s", "spec.syncWindows": []},
        {
            "spec.refreshPolicy": "CreatedOnce",
            "spec.refreshInterval": "0h",
            "spec.syncWindows": ABSENT,
        },
        {"spec.refreshPolicy": ABSENT, "spec.refreshInterval": ABSENT},
        {
            "spec.secretStoreRef": ABSENT,
            "spec.data": [{**entry("k", "key"), "sourceRef": {"storeRef": {"name": "a"}}}],
            "spec.dataFrom": ABSENT,
        },
        {f"{WINDOWS}.schedule": "*/15 0-6 1,15 JAN-MAR MON#1"},
        {f"{WINDOWS}.timeZone": "America/Argentina/Buenos_Aires"},
        {f"{WINDOWS}.timeZone": "Etc/GMT+5"},
        {"spec.rollout": {"mode": "Targets", "targets": [API, LABELS]}},
        {"spec.rollout": {"debounce": "0"}},
        {"spec.rollout": {"debounce": "1h", "timeout": "24h", "maxConcurrent": 1000}},
        {"spec.data.1.remoteRef": {"key": "k", "metadataPolicy": "Fetch", "property": "team"}},
        {"spec.target.immutable": ABSENT, PREVIOUS: {"suffix": ".old", "keepFor": "3650d"}},
        {"spec.target.immutable": ABSENT, PREVIOUS: {"keepFor": "1h0m0.5s"}},
        {
            "spec.target.immutable": ABSENT,
            PREVIOUS: {},
            "spec.data.0.secretKey": "k_previous",
            "spec.target.template": {"data": {"url": "x"}},
        },
        {"spec.rotation": {"class": "oauthClient"}},
        {"spec.rotation": {"maxAge": "999d"}},
        {"spec.rotation": {"class": "tlsCertificate", "maxAge": "2160h"}},
    ],
    ids=str,
)
def test_what_may_be_left_out_may_be_left_out(
    changes: dict[str, Any], quiet_world: World, installed: Cluster
) -> None:
    body = in_namespace(EXTERNAL_SECRET, quiet_world.namespace)

    said = tried(installed, changed(body, changes))

    assert "dry run" in said, said


def documented() -> list[tuple[str, Body]]:
    """Every manifest of ours in the documentation."""
    return [
        (f"{page.name}-{body['kind']}", body)
        for page in sorted([REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")])
        for block in page.read_text().split("```yaml\n")[1:]
        for body in yaml.safe_load_all(block.partition("```")[0])
        if isinstance(body, dict) and str(body.get("apiVersion")).startswith("syncret.io")
    ]


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in documented()])
def test_the_manifests_of_the_documentation_are_accepted(
    body: Body, quiet_world: World, installed: Cluster
) -> None:
    said = tried(installed, in_namespace(body, quiet_world.namespace))

    assert "(server dry run)" in said, said

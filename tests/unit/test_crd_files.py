"""The CRD files: what `kubectl explain` shows, what GitOps tools see, and no ignored fields."""

import copy
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncret.api.clusterexternalsecret import ClusterExternalSecretStatus, Failure
from syncret.api.externalsecret import (
    Certificate,
    Condition,
    ExternalSecretStatus,
    MissingEntry,
    Source,
    parse_external_secret,
)
from syncret.api.keys import Kind
from syncret.api.rollout import RolloutTarget
from syncret.api.rotate import RotationStatus
from syncret.api.store import parse_store
from syncret.constants import GROUP, VERSION
from syncret.reconcile.stamping import status_patch as stamp_status_patch
from syncret.reconcile.status import status_patch

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem: path for path in sorted((ROOT / "crds").glob("*.yaml"))}
CRDS: dict[str, dict[str, Any]] = {
    name: yaml.safe_load(path.read_text(encoding="utf-8")) for name, path in FILES.items()
}
SHORT_NAMES = {
    "externalsecrets": "es",
    "secretstores": "ss",
    "clustersecretstores": "css",
    "clusterexternalsecrets": "ces",
    "generators": "gen",
    "clustergenerators": "cgen",
}

#: What another system takes, in whatever form it takes it.
FREE = ".vaultDynamic.parameters"

Schema = Mapping[str, Any]


def schema_of(name: str) -> dict[str, Any]:
    return dict(CRDS[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema at and below this one, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}.*")


def leaves(schema: Schema, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of the scalars of a body with one entry in each list and each map."""
    if schema["type"] == "array":
        yield from leaves(schema["items"], (*path, 0))
    elif "additionalProperties" in schema:
        yield from leaves(schema["additionalProperties"], (*path, "any"))
    elif schema["type"] == "object":
        for name, child in schema["properties"].items():
            yield from leaves(child, (*path, name))
    else:
        yield path


ALL_NODES = [
    pytest.param(name, path, node, id=f"{name}{path}")
    for name in CRDS
    for path, node in nodes(schema_of(name))
    if path not in {".apiVersion", ".kind", ".metadata"}  # every object's; the API server's own
]


def test_there_is_one_file_for_each_kind() -> None:
    assert set(CRDS) == set(SHORT_NAMES)


@pytest.mark.parametrize("name", CRDS)
def test_a_file_is_named_for_its_resource_and_has_the_names_of_the_field(name: str) -> None:
    spec = CRDS[name]["spec"]
    names = spec["names"]

    assert CRDS[name]["metadata"]["name"] == f"{name}.{GROUP}"
    assert (spec["group"], spec["versions"][0]["name"]) == (GROUP, VERSION)
    assert (names["plural"], names["singular"]) == (name, names["kind"].lower())
    assert (names["shortNames"], names["categories"]) == ([SHORT_NAMES[name]], ["syncret"])
    assert spec["versions"][0]["subresources"] == {"status": {}}


@pytest.mark.parametrize(("name", "path", "node"), ALL_NODES)
def test_every_field_is_described_bounded_and_closed(name: str, path: str, node: Schema) -> None:
    description = node.get("description", "")
    assert re.search(r"[a-z].*\.$", description), "a description is at least one whole sentence"
    assert not re.search(r"\s\s|\n", description), "a description is one line"
    if path == ".status":  # kstatus takes an object with no status for one that is ready
        assert node["default"] == {"observedGeneration": -1}
    else:
        assert "default" not in node, "a default is shown as drift by GitOps tools"
    assert "nullable" not in node
    assert ("x-kubernetes-preserve-unknown-fields" in node) == path.endswith(FREE)
    if "additionalProperties" in node:  # a map of texts, nothing else
        assert node["additionalProperties"]["type"] == "string"
        assert "maxProperties" in node
    match node["type"]:
        case "string":
            assert "maxLength" in node or "enum" in node or node.get("format") == "date-time"
        case "array":
            assert "maxItems" in node
            assert node["x-kubernetes-list-type"] in {"map", "set", "atomic"}
        case "object" if "additionalProperties" in node:
            assert "maxProperties" in node
        case "object" if not path.endswith(FREE):
            assert "additionalProperties" in node or node["properties"]
    for rule in node.get("x-kubernetes-validations", ()):
        assert len(rule["message"]) > 40, "a message says what to do"
        assert "\n" not in rule["message"]


@pytest.mark.parametrize(("name", "path", "node"), ALL_NODES)
def test_a_description_says_more_than_the_name(name: str, path: str, node: Schema) -> None:
    words = set(re.findall(r"[a-z]+", node["description"].lower()))
    last = f"{name}{path}".rsplit(".", 1)[-1]
    own = set(re.findall(r"[a-z]+", re.sub(r"([A-Z])", r" \1", last).lower()))
    assert words - own - {"the", "a", "an", "of", "this", "is", "in", "for", "to"}


@pytest.mark.parametrize("name", CRDS)
def test_columns_point_at_fields_that_exist(name: str) -> None:
    for column in CRDS[name]["spec"]["versions"][0]["additionalPrinterColumns"]:
        steps = re.sub(r"\[\?\(.*?\)\]", ".[]", column["jsonPath"]).strip(".").split(".")
        if steps == ["metadata", "creationTimestamp"]:
            continue
        node: Any = schema_of(name)
        for step in steps:
            node = node["items"] if step == "[]" else node["properties"][step]
        assert node["type"] == "string"


def test_the_columns_of_an_external_secret_tell_its_story() -> None:
    columns = CRDS["externalsecrets"]["spec"]["versions"][0]["additionalPrinterColumns"]
    always = [column["name"] for column in columns if not column.get("priority")]
    assert always == ["Store", "Refresh", "Ready", "Reason", "Last Change", "Age"]


def test_conditions_are_the_same_in_every_kind() -> None:
    first, *others = (
        schema_of(name)["properties"]["status"]["properties"]["conditions"]["items"]
        for name in CRDS
    )
    assert all(other == first for other in others)


def test_the_two_store_kinds_differ_only_by_namespaces() -> None:
    # Namespaces of Vault are none of Kubernetes.
    others = {".vault.namespace", ".vault.auth.namespace"}

    def provider(name: str) -> set[str]:
        schema = schema_of(name)["properties"]["spec"]["properties"]["provider"]
        return {path for path, _ in nodes(schema) if path not in others}

    cluster, namespaced = provider("clustersecretstores"), provider("secretstores")

    # What is read in the operator's own pod is for those who write cluster-scoped stores.
    operators = re.compile(r"\.(credConfig|externalTokenEndpoint)\b")
    extra = {path.rsplit(".", 1)[1] for path in cluster - namespaced if not operators.search(path)}
    assert namespaced - cluster == set()
    assert extra == {"namespace"}
    assert not any(path.endswith(".namespace") for path in namespaced)


def test_the_two_generator_kinds_differ_only_by_namespaces() -> None:
    def generator(name: str) -> set[str]:
        schema = schema_of(name)["properties"]["spec"]["properties"]["generator"]
        return {path for path, _ in nodes(schema)}

    cluster, namespaced = generator("clustergenerators"), generator("generators")

    assert namespaced - cluster == set()
    assert {path.rsplit(".", 1)[1] for path in cluster - namespaced} <= {"namespace"}


@pytest.mark.parametrize("field", ["controller", "refreshInterval"])
def test_what_both_generator_kinds_have_is_the_same(field: str) -> None:
    one, other = (
        schema_of(name)["properties"]["spec"]["properties"][field]
        for name in ("generators", "clustergenerators")
    )
    assert one == other


@pytest.mark.parametrize("field", ["controller", "refreshInterval"])
def test_what_both_store_kinds_have_is_the_same(field: str) -> None:
    one, other = (
        schema_of(name)["properties"]["spec"]["properties"][field]
        for name in ("secretstores", "clustersecretstores")
    )
    assert one == other


#: For each field of a store that is not its provider's: a spec with it, and with another value.
STORE_FIELDS: dict[str, tuple[Any, Any]] = {
    ".controller": ({}, {"controller": "blue"}),
    ".refreshInterval": ({"refreshInterval": "10m"}, {"refreshInterval": "0s"}),
    ".conditions[].namespaces[]": (
        {"conditions": [{"namespaces": ["a"]}]},
        {"conditions": [{"namespaces": ["b"]}]},
    ),
    ".conditions[].namespaceRegexes[]": (
        {"conditions": [{"namespaceRegexes": ["a"]}]},
        {"conditions": [{"namespaceRegexes": ["b"]}]},
    ),
    ".conditions[].namespaceSelector.matchLabels.*": (
        {"conditions": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
        {"conditions": [{"namespaceSelector": {"matchLabels": {"a": "c"}}}]},
    ),
    ".conditions[].namespaceSelector.matchExpressions[].key": (
        {
            "conditions": [
                {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
            ]
        },
        {
            "conditions": [
                {"namespaceSelector": {"matchExpressions": [{"key": "b", "operator": "Exists"}]}}
            ]
        },
    ),
    ".conditions[].namespaceSelector.matchExpressions[].operator": (
        {
            "conditions": [
                {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}
            ]
        },
        {
            "conditions": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]
                    }
                }
            ]
        },
    ),
    ".conditions[].namespaceSelector.matchExpressions[].values[]": (
        {
            "conditions": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]
                    }
                }
            ]
        },
        {
            "conditions": [
                {
                    "namespaceSelector": {
                        "matchExpressions": [{"key": "a", "operator": "In", "values": ["c"]}]
                    }
                }
            ]
        },
    ),
    ".conditions[].remoteKeys[]": (
        {"conditions": [{"namespaces": ["a"], "remoteKeys": ["x"]}]},
        {"conditions": [{"namespaces": ["a"], "remoteKeys": ["y"]}]},
    ),
}


def test_no_field_of_a_store_is_accepted_and_ignored() -> None:
    schema = schema_of("clustersecretstores")["properties"]["spec"]
    declared = {
        path
        for path, node in nodes(schema)
        if node["type"] not in {"array", "object"} and not path.startswith(".provider")
    }
    assert declared == STORE_FIELDS.keys()


def test_no_field_of_a_generator_is_accepted_and_ignored() -> None:
    schema = schema_of("clustergenerators")["properties"]["spec"]
    declared = {
        path
        for path, node in nodes(schema)
        if node["type"] not in {"array", "object"} and not path.startswith(".generator")
    }
    assert declared == STORE_FIELDS.keys() - {".conditions[].remoteKeys[]"}


@pytest.mark.parametrize("kind", ["ClusterSecretStore", "ClusterGenerator"])
@pytest.mark.parametrize("path", STORE_FIELDS)
def test_another_value_makes_another_store(path: str, kind: Kind) -> None:
    one, other = (
        parse_store(kind, {"metadata": {"name": "aws", "uid": "u"}, "spec": spec})
        for spec in STORE_FIELDS[path]
    )
    assert (one.problem, other.problem) == ("", "")
    assert one != other


def test_the_cluster_external_secret_embeds_the_spec_of_the_external_secret() -> None:
    embedded = schema_of("clusterexternalsecrets")["properties"]["spec"]["properties"]
    assert embedded["externalSecretSpec"] == schema_of("externalsecrets")["properties"]["spec"]
    check = subprocess.run(
        [sys.executable, ROOT / "scripts" / "embed-schema", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (check.returncode, check.stderr) == (0, "")


def test_the_status_of_a_cluster_external_secret_has_the_fields_of_the_crd() -> None:
    when = "2030-01-01T00:00:00Z"
    full = ClusterExternalSecretStatus(
        ready=Condition("Ready", "True", "Provisioned", "Fake.", when, 1),
        provisioned=("a",),
        failed=(Failure("b", "Invalid", "Fake."),),
    )
    patch = stamp_status_patch(ClusterExternalSecretStatus(), full)
    assert patch is not None
    schema = schema_of("clusterexternalsecrets")["properties"]["status"]["properties"]
    assert patch.keys() == schema.keys()
    assert patch["failedNamespaces"][0].keys() == (
        schema["failedNamespaces"]["items"]["properties"].keys()
    )


#: Bodies that set every field of the spec between them; and for each scalar another value.
FULL_SPEC: dict[str, Any] = {
    "refreshPolicy": "Periodic",
    "refreshInterval": "30s",
    "syncWindows": [
        {"kind": "Allow", "schedule": "0 2 * * *", "duration": "2h", "timeZone": "Europe/Berlin"}
    ],
    "secretStoreRef": {"name": "aws", "kind": "ClusterSecretStore"},
    "target": {
        "name": "one",
        "creationPolicy": "Orphan",
        "deletionPolicy": "Retain",
        "immutable": True,
    },
    "data": [
        {
            "secretKey": "password",
            "remoteRef": {
                "key": "app/db",
                "property": "password",
                "version": "AWSCURRENT",
                "metadataPolicy": "None",
                "decodingStrategy": "Base64",
                "nullBytePolicy": "Fail",
            },
            "optional": True,
        }
    ],
    "dataFrom": [
        {
            "extract": {
                "key": "app/all",
                "property": "db",
                "version": "AWSCURRENT",
                "metadataPolicy": "None",
                "conversionStrategy": "Unicode",
                "decodingStrategy": "Base64",
                "nullBytePolicy": "Fail",
            },
            "rewrite": [{"regexp": {"source": "^a", "target": "b"}}],
            "optional": True,
        }
    ],
    "rollout": {
        "mode": "Auto",
        "debounce": "5s",
        "maxConcurrent": 2,
        "timeout": "5m",
        "windows": [
            {
                "kind": "Allow",
                "schedule": "0 2 * * *",
                "duration": "2h",
                "timeZone": "Europe/Berlin",
            }
        ],
    },
}
NAMED = {
    **FULL_SPEC,
    "rollout": {"mode": "Targets", "targets": [{"kind": "Deployment", "name": "api"}]},
}
SELECTED = {
    **FULL_SPEC,
    "rollout": {"mode": "Targets", "targets": [{"selector": {"matchLabels": {"any": "a"}}}]},
}
SEARCH: dict[str, Any] = {
    **FULL_SPEC,
    "data": [
        {
            "secretKey": "password",
            "remoteRef": {"key": "app/db"},
            "sourceRef": {"storeRef": {"name": "own", "kind": "ClusterSecretStore"}},
        }
    ],
    "dataFrom": [
        {
            "find": {
                "path": "app/",
                "name": {"regexp": "db$"},
                "tags": {"any": "payments"},
                "conversionStrategy": "Unicode",
                "decodingStrategy": "Base64",
                "nullBytePolicy": "Fail",
            },
            "rewrite": [
                {
                    "merge": {
                        "priority": ["app/db"],
                        "priorityPolicy": "IgnoreNotFound",
                        "conflictPolicy": "Ignore",
                    }
                }
            ],
            "sourceRef": {"storeRef": {"name": "own", "kind": "ClusterSecretStore"}},
        }
    ],
}
GENERATED: dict[str, Any] = {
    **FULL_SPEC,
    "dataFrom": [{"sourceRef": {"generatorRef": {"name": "db", "kind": "ClusterGenerator"}}}],
    "rotation": {"maxAge": "30d", "revokeAfter": "1h"},
}
INTO: dict[str, Any] = {
    **FULL_SPEC,
    "dataFrom": [
        {
            "find": {"path": "app/"},
            "rewrite": [{"merge": {"strategy": "JSON", "into": "all"}}],
        }
    ],
}


def templated(source: dict[str, Any]) -> dict[str, Any]:
    """One with a template, part of which comes from elsewhere."""
    template = {
        "type": "kubernetes.io/basic-auth",
        "mergePolicy": "Replace",
        "metadata": {"labels": {"any": "a"}, "annotations": {"any": "a"}},
        "data": {"any": "{{ a }}"},
        "templateFrom": [{"target": "Data", **source}],
    }
    return {**FULL_SPEC, "target": {"name": "one", "template": template}}


OBJECT = {"name": "form", "items": [{"key": "a", "templateAs": "Values"}]}
TEMPLATED = [templated({kind: OBJECT}) for kind in ("configMap", "secret")]
TEMPLATED.append(templated({"literal": "a: 1"}))
TRANSFORMED = {
    **FULL_SPEC,
    "dataFrom": [{"find": {"path": "a"}, "rewrite": [{"transform": {"template": "{{ value }}"}}]}],
}
KEPT = {
    **FULL_SPEC,
    "target": {"name": "one", "previous": {"suffix": "_before", "keepFor": "1h"}},
    "rotation": {"class": "database", "maxAge": "30d"},
}
SPECS = (
    FULL_SPEC,
    SEARCH,
    INTO,
    *TEMPLATED,
    TRANSFORMED,
    NAMED,
    SELECTED,
    KEPT,
    GENERATED,
)
OTHER_VALUES = {
    "revokeAfter": "0s",
    "suffix": "_another",
    "keepFor": "7d",
    "class": "apiKey",
    "maxAge": "36h",
    "mergePolicy": "Merge",
    "templateAs": "KeysAndValues",
    "target": "Labels",
    "refreshPolicy": "OnChange",
    "refreshInterval": "45s",
    "schedule": "0 3 * * *",
    "duration": "3h",
    "timeZone": "America/New_York",
    "mode": "None",
    "metadataPolicy": "Fetch",
    "decodingStrategy": "Auto",
    "conversionStrategy": "Default",
    "nullBytePolicy": "Ignore",
    "optional": False,
    "priorityPolicy": "Strict",
    "conflictPolicy": "Error",
    "creationPolicy": "Owner",
    "deletionPolicy": "Merge",
    "immutable": False,
    "debounce": "6s",
    "maxConcurrent": 3,
    "timeout": "6m",
}
OTHER_KINDS = {
    "ClusterSecretStore": "SecretStore",
    "ClusterGenerator": "Generator",
    "Allow": "Deny",
    "Deployment": "StatefulSet",
}
SPEC_LEAVES = list(leaves(schema_of("externalsecrets")["properties"]["spec"]))


def at(body: Any, path: tuple[str | int, ...]) -> Any:
    """What a body has at a path; None without."""
    for step in path:
        try:
            body = body[step]
        except (KeyError, IndexError):
            return None
    return body


@pytest.mark.parametrize("path", SPEC_LEAVES, ids=lambda path: ".".join(map(str, path)))
def test_no_field_of_an_external_secret_is_accepted_and_ignored(
    path: tuple[str | int, ...],
) -> None:
    spec = next(spec for spec in SPECS if at(spec, path) is not None)
    body: dict[str, Any] = {
        "metadata": {"name": "db", "namespace": "payments", "uid": "u", "generation": 1},
        "spec": spec,
    }
    changed = copy.deepcopy(body)
    parent, name = at(changed["spec"], path[:-1]), path[-1]
    if name == "kind":
        parent[name] = OTHER_KINDS[parent[name]]
    elif name == "strategy":  # which needs no "into" any more
        changed["spec"]["dataFrom"][0]["rewrite"][0]["merge"] = {"strategy": "Extract"}
    else:
        parent[name] = OTHER_VALUES.get(str(name), "another")

    before, after = parse_external_secret(body), parse_external_secret(changed)

    assert (before.problem, after.problem) == ("", "")
    assert before != after


def test_the_status_that_is_written_and_that_of_the_crd_have_the_same_fields() -> None:
    when = "2030-01-01T00:00:00Z"
    full = ExternalSecretStatus(
        ready=Condition("Ready", "True", "Synced", "Fake.", when, 1),
        rotation_overdue=Condition("RotationOverdue", "False", "InTime", "Fake.", when, 1),
        expiring=Condition("Expiring", "False", "InTime", "Fake.", when, 1),
        synced_generation=1,
        last_change_time=when,
        data_hash="fake",
        sources=(Source("app/db", "v1", when, "SecretStore/own", when),),
        certificates=(Certificate("tls.crt", when, when),),
        keys=("password",),
        missing=(MissingEntry("spec.data[0]", "app/db", "password"),),
        force_sync="fake",
        held_until=when,
        targets=(
            RolloutTarget(
                "Deployment", "api", "u", "fake", when, "Pending", 1, "fake", "fake", "fake"
            ),
        ),
        rollout_since=when,
        secret_name="db",
        former_secrets=("old",),
        template_input="fake",
        template_from="fake",
        rotation=RotationStatus("fake", "Failed", when, "Fake.", (("app/db", "v2", "v1"),)),
    )
    patch = status_patch(ExternalSecretStatus(), full)
    assert patch is not None

    def paths(body: Any, path: str = "") -> Iterator[str]:
        if isinstance(body, dict):
            for name, value in body.items():
                yield from paths(value, f"{path}.{name}")
        elif isinstance(body, list):
            for value in body:
                yield from paths(value, f"{path}[]")
        else:
            yield path

    schema = schema_of("externalsecrets")["properties"]["status"]
    declared = {path for path, node in nodes(schema) if not {"properties", "items"} & node.keys()}
    assert set(paths(patch["status"])) == declared


def test_the_reference_is_what_the_crds_and_the_values_say() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "scripts" / "generate-reference", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (check.returncode, check.stderr) == (0, "")

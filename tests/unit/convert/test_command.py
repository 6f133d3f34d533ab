"""``syncret convert`` as a person runs it: files in, files out, what is said, the exit code."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncret.__main__ import main
from syncret.convert import fields
from syncret.convert.mapping import convert
from syncret.convert.result import Result
from syncret.providers.registry import parse_provider

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SECRET = "hunter2-not-real"
ROLE = "arn:aws:iam::123456789012:role/reader"


def external_secret(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "app", "namespace": "shop"},
        "spec": {
            "secretStoreRef": {"name": "aws"},
            "data": [{"secretKey": "a", "remoteRef": {"key": "b"}}],
            **spec,
        },
    }


def test_a_shop_is_converted_as_it_was_looked_over(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["convert", str(HERE / "shop.yaml")])
    said = capsys.readouterr()
    assert code == 1
    assert said.out == (HERE / "shop.converted.yaml").read_text(encoding="utf-8")
    assert said.err == (HERE / "shop.report.txt").read_text(encoding="utf-8")
    assert SECRET not in said.err


def test_what_is_exact_ends_with_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    listed = {"apiVersion": "v1", "kind": "List", "items": [external_secret(), external_secret()]}
    (tmp_path / "in" / "sub" / "a.yaml").write_text(json.dumps(listed), encoding="utf-8")

    assert main(["convert", str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 0

    made = list(yaml.safe_load_all((tmp_path / "out" / "sub" / "a.yaml").read_text("utf-8")))
    assert [one["apiVersion"] for one in made] == ["syncret.io/v1alpha1"] * 2
    assert made[0]["spec"] == external_secret()["spec"]
    assert capsys.readouterr().err == (
        "2 converted exactly, 0 converted with remarks, 0 not converted\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name files or directories"),
        (["a.yaml", "--from-cluster"], "name files or directories"),
        (["a.yaml", "-A"], "go with --from-cluster"),
        (["/nowhere/a.yaml"], "/nowhere/a.yaml does not exist: correct the path"),
    ],
)
def test_wrong_usage_ends_with_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("text", [f"a: [{SECRET}", f"- {SECRET}", f"a: {SECRET}"])
def test_what_is_no_manifest_is_not_quoted(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["convert", str(path)]) == 2
    said = capsys.readouterr()
    assert str(path) in said.err
    assert SECRET not in said.err


def test_a_field_that_the_crd_has_is_converted_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = external_secret(target={"template": {"engineVersion": "v2", "data": {"u": "{{.a}}"}}})
    shapes = json.loads(json.dumps(fields.shapes()))
    target = shapes["ExternalSecret"]["target"]

    target.pop("template", None)
    with monkeypatch.context() as patch:
        patch.setattr("syncret.convert.externalsecrets.shapes", lambda: shapes)
        without = convert(source)
    target["template"] = {"data": {"type": "map"}}
    with monkeypatch.context() as patch:
        patch.setattr("syncret.convert.externalsecrets.shapes", lambda: shapes)
        having = convert(source)

    assert [one.path for one in without.remarks] == ["spec.target.template"]
    assert without.body is not None
    assert "template" not in without.body["spec"].get("target", {})
    assert having.remarks == []
    assert having.body is not None
    assert having.body["spec"]["target"]["template"] == {"data": {"u": "{{ a }}"}}


def test_a_template_without_translation_fails_instead_of_making_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shapes = json.loads(json.dumps(fields.shapes()))
    shapes["ExternalSecret"]["target"]["template"] = {"data": {"type": "map"}}
    monkeypatch.setattr("syncret.convert.externalsecrets.shapes", lambda: shapes)
    text = f"{SECRET} {{{{ now }}}}"

    made = convert(external_secret(target={"template": {"data": {"u": text}}}))

    (remark,) = made.remarks
    assert (remark.path, remark.lost, remark.original) == (
        "spec.target.template.data.u",
        True,
        text,
    )
    assert SECRET not in remark.text
    assert made.body is not None
    assert made.body["spec"]["target"]["template"]["data"]["u"] == (
        '{{ secrets["not translated by syncret convert: spec.target.template.data.u"] }}'
    )


@pytest.mark.parametrize(
    "aws",
    [
        {"service": "CertificateManager"},
        {"auth": {"jwt": {"unknown": {"name": "reader"}}}},
        {"auth": {"jwt": {"serviceAccountRef": {"name": "a"}}, "secretRef": {"x": {"name": "a"}}}},
        {"roleOfTomorrow": ROLE},
    ],
)
def test_a_store_whose_identity_is_not_known_is_not_converted(aws: dict[str, Any]) -> None:
    made = aws_store(**aws)
    assert made.body is None
    assert any(one.lost for one in made.remarks)


ACCOUNT = {"jwt": {"serviceAccountRef": {"name": "reader", "audiences": ["more"]}}}


def aws_store(kind: str = "SecretStore", **aws: Any) -> Result:
    """The conversion of an AWS store of ESO."""
    provider = {"service": "SecretsManager", "region": "eu-central-1", **aws}
    return convert(
        {
            "apiVersion": "external-secrets.io/v1",
            "kind": kind,
            "metadata": {"name": "aws", "namespace": "shop"},
            "spec": {"provider": {"aws": provider}},
        }
    )


@pytest.mark.parametrize(
    ("aws", "expected", "remarks"),
    [
        ({"service": "ParameterStore"}, {"service": "ParameterStore"}, 0),
        ({"auth": ACCOUNT, "role": ROLE}, {"auth": ACCOUNT, "role": ROLE}, 0),
        ({"auth": {}, "additionalRoles": []}, {}, 0),
        ({"sessionTagsPolicy": "None"}, {}, 0),
        ({"secretsManager": {"recoveryWindowInDays": 7}}, {}, 1),
        ({"prefix": "production/"}, {"prefix": "production/"}, 1),
        (
            {"role": ROLE, "additionalRoles": [f"{ROLE}-1"], "externalID": "id-1"},
            {"role": ROLE, "additionalRoles": [f"{ROLE}-1"], "externalID": "id-1"},
            0,
        ),
        ({"externalID": "id-1", "sessionTagsPolicy": "Simple"}, {}, 2),
        (
            {"additionalRoles": [f"{ROLE}-1", f"{ROLE}-2"]},
            {"additionalRoles": [f"{ROLE}-1"], "role": f"{ROLE}-2"},
            0,
        ),
        ({"additionalRoles": [f"{ROLE}-1"]}, {"role": f"{ROLE}-1"}, 0),
        (
            {
                "role": ROLE,
                "sessionTags": [{"key": "a", "value": "1"}],
                "sessionTagsPolicy": "Custom",
                "customSessionTags": {"b": "2"},
                "transitiveTagKeys": ["a", "esoNamespace"],
            },
            {
                "role": ROLE,
                "sessionTags": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}],
                "sessionTagsPolicy": "Simple",
                "transitiveTagKeys": ["a", "syncretNamespace"],
            },
            1,
        ),
    ],
)
def test_a_store_of_aws(aws: dict[str, Any], expected: dict[str, Any], remarks: int) -> None:
    for kind in ("SecretStore", "ClusterSecretStore"):
        made = aws_store(kind, **aws)
        assert made.body is not None
        spec = made.body["spec"]["provider"]["aws"]
        assert spec == {"service": "SecretsManager", "region": "eu-central-1", **expected}
        parse_provider(made.body["spec"]["provider"], cluster_scoped=kind == "ClusterSecretStore")
        about = [one for one in made.remarks if one.path.startswith("spec.provider")]
        own = kind == "SecretStore" and "auth" not in expected
        assert len(about) == remarks + own
        assert not any(one.lost for one in about)


def test_what_a_cluster_external_secret_made_is_left_to_it() -> None:
    source = external_secret()
    source["metadata"]["ownerReferences"] = [{"kind": "ClusterExternalSecret", "name": "x"}]
    assert convert(source).body is None


def test_the_fields_are_those_of_the_crds() -> None:
    check = subprocess.run(
        [sys.executable, ROOT / "scripts" / "embed-fields", "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (check.returncode, check.stderr) == (0, "")


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ({}, {}),
        ({"creationPolicy": "Owner", "deletionPolicy": "Retain"}, {}),
        ({"creationPolicy": "Orphan", "deletionPolicy": "Retain"}, {"creationPolicy": "Orphan"}),
        ({"creationPolicy": "None"}, {"creationPolicy": "None"}),
        ({"deletionPolicy": "Delete"}, {"deletionPolicy": "Delete"}),
        (
            {"creationPolicy": "Merge"},
            {"creationPolicy": "Merge", "deletionPolicy": "Retain"},
        ),
        (
            {"creationPolicy": "CreateOrMerge", "deletionPolicy": "Merge"},
            {"creationPolicy": "CreateOrMerge", "deletionPolicy": "Merge"},
        ),
    ],
)
def test_the_policies_of_the_target_mean_the_same(
    there: dict[str, str], here: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = json.loads(json.dumps(fields.shapes()))
    for name in ("creationPolicy", "deletionPolicy"):
        shapes["ExternalSecret"]["target"][name] = {"type": "string"}
    monkeypatch.setattr("syncret.convert.externalsecrets.shapes", lambda: shapes)

    made = convert(external_secret(target={"name": "other", **there}))

    assert made.remarks == []
    assert made.body is not None
    assert made.body["spec"]["target"] == {"name": "other", **here}


def test_a_whole_template_is_converted(monkeypatch: pytest.MonkeyPatch) -> None:
    text: dict[str, str] = {"type": "string"}
    shapes = json.loads(json.dumps(fields.shapes()))
    shapes["ExternalSecret"]["target"]["template"] = {
        "type": text,
        "mergePolicy": text,
        "data": {"type": "map"},
        "metadata": {"labels": {"type": "map"}, "annotations": {"type": "map"}},
        "templateFrom": {"[]": {"literal": text, "target": text, "configMap": {"name": text}}},
    }
    monkeypatch.setattr("syncret.convert.externalsecrets.shapes", lambda: shapes)

    made = convert(
        external_secret(
            target={
                "template": {
                    "engineVersion": "v2",
                    "type": "Opaque",
                    "mergePolicy": "Replace",
                    "metadata": {"labels": {"a": "{{ .a }}"}, "finalizers": ["x/y"]},
                    "data": {"url": "https://{{ .a -}} /x"},
                    "templateFrom": [
                        {"target": "Data", "literal": "k: {{ .a | quote }}"},
                        {"target": "labels", "configMap": {"name": "c"}},
                    ],
                }
            }
        )
    )

    assert made.body is not None
    assert made.body["spec"]["target"]["template"] == {
        "type": "Opaque",
        "metadata": {"labels": {"a": "{{ a }}"}},
        "data": {"url": "https://{{ a }}/x"},
        "templateFrom": [
            {"literal": "k: {{ a | to_json }}"},
            {"target": "Labels", "configMap": {"name": "c"}},
        ],
    }
    at = "spec.target.template"
    assert {(one.path, one.lost) for one in made.remarks} == {
        (f"{at}.metadata.finalizers", True),
        (f"{at}.templateFrom[0].literal", False),
        (f"{at}.templateFrom[1].configMap", True),
    }


def test_a_store_of_azure_loses_nothing_that_it_needs() -> None:
    azure = {
        "vaultUrl": "https://shop.vault.azure.cn",
        "environmentType": "ChinaCloud",
        "authType": "WorkloadIdentity",
        "useAzureSDK": True,
        "serviceAccountRef": {"name": "reader", "audiences": ["api://AzureADTokenExchange"]},
        "customCloudConfig": {
            "activeDirectoryEndpoint": "https://login.partner.microsoftonline.cn",
            "resourceManagerEndpoint": "https://management.chinacloudapi.cn",
        },
    }
    store = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "azure", "namespace": "shop"},
        "spec": {"provider": {"azurekv": azure}},
    }
    result = convert(store)
    assert result.body is not None
    made = result.body["spec"]["provider"]["azurekv"]
    kept = {name: value for name, value in azure.items() if name != "useAzureSDK"}
    kept["customCloudConfig"] = {
        "activeDirectoryEndpoint": "https://login.partner.microsoftonline.cn"
    }
    assert made == kept
    assert not any(remark.lost for remark in result.remarks)
    assert len(result.remarks) == 2


@pytest.mark.parametrize(
    "spec",
    [
        {"data": 3},
        {"dataFrom": True},
        {"target": 3},
        {"data": [{"secretKey": [], "remoteRef": {"key": SECRET}}]},
        {"dataFrom": [{"sourceRef": {"generatorRef": {"kind": []}}}]},
    ],
)
def test_a_value_of_another_type_is_told_of_its_object(spec: dict[str, Any]) -> None:
    made = convert(external_secret(**spec))
    if made.body is None:
        assert "kubectl apply --dry-run=server" in made.remarks[0].text
    assert made.remarks
    assert not any(SECRET in one.text for one in made.remarks)

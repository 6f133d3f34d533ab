"""``syncret cost``: calls by the engine's own rules, dollars by the price lists, beside ESO's."""

import json
import re
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import yaml

from syncret.__main__ import main
from syncret.cost.estimate import MONTH, Line, estimate, table
from syncret.cost.fleet import fleet_of
from syncret.cost.prices import PRICES
from syncret.providers.registry import NAMES

ROOT = Path(__file__).parents[3]
HOUR, MINUTE = 3600.0, 60.0


def store(name: str = "aws", **auth: Any) -> dict[str, Any]:
    provider = {"service": "SecretsManager", "region": "eu-central-1", **auth}
    return {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ClusterSecretStore",
        "metadata": {"name": name},
        "spec": {"provider": {"aws": provider}, "conditions": [{"namespaces": ["*"]}]},
    }


def external_secret(name: str = "app", *keys: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "syncret.io/v1alpha1",
        "kind": "ExternalSecret",
        "metadata": {"name": name, "namespace": spec.pop("namespace", "shop")},
        "spec": {
            "secretStoreRef": {"kind": "ClusterSecretStore", "name": "aws"},
            "data": [
                {"secretKey": f"k{n}", "remoteRef": {"key": key}} for n, key in enumerate(keys)
            ],
            **spec,
        },
    }


def lines(*documents: dict[str, Any], namespaces: int = 10, found: int = 10) -> list[Line]:
    return estimate(fleet_of(documents, namespaces=namespaces), found=found)


def test_a_month_of_single_reads_is_what_peers_pay() -> None:
    """1,000 secrets every minute are 43.8 million calls, at $0.05 for 10,000 of them."""
    line = table("aws/SecretsManager", 1_000, MINUTE)
    assert line.eso_calls == pytest.approx(1_000 * MONTH / MINUTE)
    assert line.eso_dollars == pytest.approx(219.0)
    assert line.storage == pytest.approx(400.0)


def test_reads_of_one_store_share_calls_where_it_has_a_batch() -> None:
    line = table("aws/SecretsManager", 10_000, HOUR)
    assert line.reads == pytest.approx(10_000 * MONTH / HOUR)
    fewest = ceil(10_000 / 20) * MONTH / HOUR
    assert fewest <= line.calls < 1.6 * fewest
    assert line.dollars < line.eso_dollars / 12


def test_looks_at_versions_are_free_as_far_as_they_reach() -> None:
    """GCP: 1,000 secrets every hour are 17 looks a minute, every minute 1,000 of which 180 are."""
    assert table("gcpsm", 1_000, HOUR).dollars == 0
    line = table("gcpsm", 1_000, MINUTE)
    assert line.dollars == pytest.approx(line.eso_dollars * 0.82)


def test_what_many_read_is_read_once() -> None:
    readers = [external_secret(f"app-{n}", "shared/key") for n in range(50)]
    (line,) = lines(store(), *readers)
    assert line.secrets == 1
    assert line.reads == line.calls == pytest.approx(MONTH / HOUR)
    assert line.eso_calls == pytest.approx(50 * MONTH / HOUR)


def test_a_cluster_external_secret_costs_one_read_however_many_namespaces() -> None:
    one = external_secret("app", "shared/key")
    spread = {
        **one,
        "kind": "ClusterExternalSecret",
        "metadata": {"name": "app"},
        "spec": {"namespaceSelectors": [{}], "externalSecretSpec": one["spec"]},
    }
    (line,) = lines(store(), spread, namespaces=40)
    assert line.calls == pytest.approx(MONTH / HOUR)
    assert line.eso_calls == pytest.approx(40 * MONTH / HOUR)


def test_namespaces_with_credentials_of_their_own_share_nothing() -> None:
    reference = {"name": "aws", "key": "any"}
    selectors = {"accessKeyIDSecretRef": reference, "secretAccessKeySecretRef": reference}
    own = store(auth={"secretRef": selectors})
    readers = [external_secret("app", "shared/key", namespace=f"n{n}") for n in range(3)]
    found = lines(own, *readers)
    assert [line.store.namespace for line in found] == ["n0", "n1", "n2"]
    assert sum(line.calls for line in found) == pytest.approx(3 * MONTH / HOUR)


def test_what_is_not_refreshed_by_the_clock_costs_nothing() -> None:
    (line,) = lines(
        store(),
        external_secret("a", "a", refreshInterval="0"),
        external_secret("b", "b", refreshPolicy="CreatedOnce"),
    )
    assert (line.secrets, line.calls, line.eso_calls) == (2, 0, 0)


def test_a_search_is_its_pages_and_what_it_finds() -> None:
    search = external_secret("a", data=[], dataFrom=[{"find": {"name": {"regexp": "^db"}}}])
    (line,) = lines(store(), search, found=250)
    times = MONTH / HOUR
    assert line.calls == pytest.approx((3 + ceil(250 / 20)) * times)
    assert line.eso_calls == pytest.approx((3 + 250) * times)


@pytest.mark.parametrize(
    ("kind", "pages", "paid"),
    [("azurekv", 3, 3 + 60), ("gcpsm", 1, 60)],  # pages of 25; what lists is free
)
def test_a_search_is_priced_as_its_store_does(kind: str, pages: int, paid: int) -> None:
    search = external_secret("a", data=[], dataFrom=[{"find": {"name": {"regexp": "^db"}}}])
    fleet = fleet_of((store(), search), namespaces=1)
    fleet.stores = dict.fromkeys(fleet.stores, kind)
    (line,) = estimate(fleet, found=60)
    times = MONTH / HOUR
    assert line.eso_calls == pytest.approx((pages + 60) * times)
    assert line.eso_dollars == pytest.approx(paid * times * PRICES[kind].call)


def test_every_provider_has_a_price() -> None:
    assert {kind.partition("/")[0] for kind in PRICES} >= set(NAMES)


def test_the_page_has_what_is_computed() -> None:
    page = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| ([A-Z][^|]+) \| ([\d,]+) \| (\d+)([mh]) \| (.+) \|$", page)
    kinds = {price.title: kind for kind, price in PRICES.items()}
    assert len(rows) == 32
    for title, secrets, number, unit, figures in rows:
        interval = float(number) * (MINUTE if unit == "m" else HOUR)
        line = table(kinds[title], int(secrets.replace(",", "")), interval)
        told = (
            f"{line.calls:,.0f} | {line.dollars:,.2f} | "
            f"{line.eso_calls:,.0f} | {line.eso_dollars:,.2f}"
        )
        assert figures == told, (title, secrets, number, unit)


def test_it_prints_a_table_and_the_same_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.yaml"
    both = [store(), external_secret("a", "a", "b"), external_secret("b", "c")]
    path.write_text(yaml.safe_dump_all(both), encoding="utf-8")
    assert main(["cost", str(path)]) == 0
    assert "AWS Secrets Manager" in capsys.readouterr().out
    assert main(["cost", str(path), "--output", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    (line,) = lines(*both)
    assert printed["total"]["calls"] == round(line.calls)
    assert printed["stores"][0]["dollars"] == pytest.approx(line.dollars)


def test_manifests_of_eso_are_counted_as_well(capsys: pytest.CaptureFixture[str]) -> None:
    shop = Path(__file__).parents[1] / "convert" / "shop.yaml"
    assert main(["cost", str(shop), "--namespaces", "3"]) == 1
    said = capsys.readouterr()
    assert "ClusterSecretStore aws" in said.out
    assert "ClusterExternalSecret pull is counted for 3 selected namespaces" in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name files or directories"),
        (["a.yaml", "--from-cluster"], "name files or directories"),
        (["a.yaml", "-A"], "go with --from-cluster"),
        (["a.yaml", "--kubeconfig=b"], "go with --from-cluster"),
        (["/nowhere/a.yaml"], "/nowhere/a.yaml does not exist: correct the path"),
    ],
)
def test_wrong_usage_ends_with_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cost", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_count_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(store()), encoding="utf-8")
    assert main(["cost", str(path)]) == 2
    assert "there is no ExternalSecret" in capsys.readouterr().err


def test_a_store_that_no_manifest_has_is_named_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "all.yaml"
    elsewhere = external_secret("b", "b", secretStoreRef={"name": "elsewhere"})
    both = [store(), external_secret("a", "a"), elsewhere]
    path.write_text(yaml.safe_dump_all(both), encoding="utf-8")
    assert main(["cost", str(path)]) == 1
    said = capsys.readouterr()
    (remark,) = said.err.splitlines()
    assert remark.startswith("SecretStore shop/elsewhere is not among the manifests")
    assert "give the file that has it as well" in remark
    assert re.search(r"(?m)^total .*0\.00 \+ \?.*0\.00 \+ \?$", said.out)
    assert main(["cost", str(path), "-o", "json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert {one["store"]: one["priced"] for one in printed["stores"]} == {
        "ClusterSecretStore aws": True,
        "SecretStore shop/elsewhere": False,
    }
    assert printed["remarks"] == [remark]


def test_what_generators_make_costs_no_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = external_secret("a", data=[])
    reference = {"generatorRef": {"name": "password"}}
    made["spec"] |= {"dataFrom": [{"sourceRef": reference}], "refreshInterval": "1m"}
    del made["spec"]["secretStoreRef"]
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(made), encoding="utf-8")
    assert main(["cost", str(path), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["stores"] == []


def test_why_nothing_is_counted_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump(external_secret("a", "a", refreshInterval="x")), "utf-8")
    assert main(["cost", str(path)]) == 2
    assert "ExternalSecret shop/a is not counted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "data"), 3),
        (("spec", "data", 0, "secretKey"), []),
        (("spec", "dataFrom"), True),
        (("spec", "dataFrom"), [{"find": {"tags": {"a": {}}}}]),
        (("metadata", "namespace"), []),
        (("metadata", "name"), 3),
    ],
)
def test_a_value_of_another_type_is_told_and_the_rest_counted(
    path: tuple[Any, ...], value: object
) -> None:
    for api in ("syncret.io/v1alpha1", "external-secrets.io/v1"):
        broken = external_secret("b", "b") | {"apiVersion": api}
        part: Any = broken
        for step in path[:-1]:
            part = part[step]
        part[path[-1]] = value
        fleet = fleet_of([store(), broken, external_secret("a", "a")], namespaces=1)
        assert {one.key.name for one in fleet.external_secrets} >= {"a"}
        estimate(fleet, found=1)

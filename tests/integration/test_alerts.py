"""The alerts of the chart, tried on series with Prometheus' own tool."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.binaries import ensure
from testbed.progress import Progress

CHART = Path(__file__).resolve().parents[2] / "helm" / "syncret"

DAY = 24 * 60
LABELS = '{namespace="shop", name="web"}'

#: The alert, the series with their values, after how many minutes, and whether it fires.
CASES: list[tuple[str, dict[str, str], int, bool]] = [
    ("SecretRotationOverdue", {"rotation_overdue": "1x90"}, 70, True),
    ("SecretRotationOverdue", {"rotation_overdue": "1x90"}, 50, False),
    ("SecretRotationOverdue", {"rotation_overdue": "0x90"}, 70, False),
    (
        "CertificateExpiresSoon",
        {
            "certificate_not_after_timestamp_seconds": f"{31 * DAY * 60}x{3 * DAY}",
            "expiring": f"0x{DAY} 1x{2 * DAY}",
        },
        DAY + 70,
        True,
    ),
    (
        "CertificateExpiresSoon",
        {
            "certificate_not_after_timestamp_seconds": f"{31 * DAY * 60}x{3 * DAY}",
            "expiring": f"0x{DAY} 1x{2 * DAY}",
        },
        DAY - 70,
        False,
    ),
    # A certificate of two days is nothing to tell of in its first.
    (
        "CertificateExpiresSoon",
        {
            "certificate_not_after_timestamp_seconds": f"{2 * DAY * 60}x{DAY}",
            "expiring": f"0x{DAY}",
        },
        120,
        False,
    ),
    ("CertificateExpired", {"certificate_not_after_timestamp_seconds": "3600x90"}, 61, True),
    ("CertificateExpired", {"certificate_not_after_timestamp_seconds": "3600x90"}, 59, False),
    (
        "SecretExpiresSoon",
        {"expires_timestamp_seconds": "86400x90", "expiring": "1x90"},
        70,
        True,
    ),
    (
        "SecretExpiresSoon",
        {"expires_timestamp_seconds": f"{31 * DAY * 60}x{DAY}", "expiring": f"0x{DAY}"},
        120,
        False,
    ),
]


def rendered(*values: str) -> dict[str, Any]:
    """The PrometheusRule that the chart makes. Raises CalledProcessError."""
    helm = ensure(["helm"], progress=Progress())["helm"]
    command: list[str | Path] = [helm, "template", "syncret", CHART, "-n", "syncret"]
    command += ["--show-only=templates/prometheusrule.yaml"]
    for value in ("metrics.prometheusRule.enabled=true", *values):
        command += ["--set", value]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    body: dict[str, Any] = yaml.safe_load(done.stdout)
    return body


def rules(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in body["spec"]["groups"] for rule in group["rules"]}


def test_they_fire_when_they_should(tmp_path: Path) -> None:
    promtool = ensure(["promtool"], progress=Progress())["promtool"]
    spec = rendered("shards=3")["spec"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(spec))
    tests = [
        {
            "interval": "1m",
            "input_series": [
                {"series": f"syncret_externalsecret_{name}{LABELS}", "values": values}
                for name, values in series.items()
            ],
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                    "eval_time": f"{minutes}m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for alert, series, minutes, fires in CASES
    ]
    body = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.yaml").write_text(yaml.safe_dump(body))
    for command in (["check", "rules", "rules.yaml"], ["test", "rules", "tests.yaml"]):
        done = subprocess.run(
            [promtool, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_shard_without_a_replica_is_told_of() -> None:
    assert rules(rendered("shards=3"))["SyncretNobodyWorks"]["expr"] == "sum(syncret_shards) < 3"


def test_single_alerts_are_changed_and_left_out() -> None:
    path = "metrics.prometheusRule"
    body = rendered(
        f"{path}.alerts.SyncretBehind.enabled=false",
        f"{path}.alerts.RolloutStuck.for=3h",
        f"{path}.alerts.RolloutStuck.labels.team=shop",
        f"{path}.labels.release=prometheus",
    )
    assert body["metadata"]["labels"]["release"] == "prometheus"
    mine, all_of_them = rules(body), rules(rendered())
    assert all_of_them.keys() - mine.keys() == {"SyncretBehind"}
    assert mine["RolloutStuck"] == {
        **all_of_them["RolloutStuck"],
        "for": "3h",
        "labels": {"severity": "warning", "team": "shop"},
    }


def test_an_alert_that_there_is_not_is_named() -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered("metrics.prometheusRule.alerts.Typo.enabled=false")
    assert "there is no alert Typo; there are ExternalSecretNotReady" in refused.value.stderr

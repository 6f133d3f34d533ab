"""The alerts of the documentation, tried on series with Prometheus' own tool where there is one."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

PAGE = Path(__file__).resolve().parents[2] / "docs" / "observability.md"
PROMTOOL = shutil.which("promtool")

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
]


def groups() -> list[dict[str, Any]]:
    """The groups of rules that the page has."""
    found = []
    for block in PAGE.read_text(encoding="utf-8").split("```yaml\n")[1:]:
        found += yaml.safe_load(block.partition("```")[0]).get("groups", [])
    return found


def test_every_alert_has_what_an_alert_needs() -> None:
    rules = [rule for group in groups() for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names)) > 8
    assert {name for name, *_ in CASES} <= set(names)
    for rule in rules:
        assert rule["expr"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_they_fire_when_they_should(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups()}))
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
            [str(PROMTOOL), *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

"""What the administrator allows comes from the settings, and is nothing by default."""

from pathlib import Path

import pytest

from support.pki import Issuer
from syncret.errors import SpecInvalid
from syncret.providers.bounds import CLOSED, Bounds, OwnCluster
from syncret.providers.registry import parse_provider, provider


def test_nothing_is_allowed_by_default() -> None:
    assert Bounds.of() == CLOSED
    assert not CLOSED.webhook_hosts.admits("https", "example.com", 443)
    assert CLOSED.file_roots == ()
    assert CLOSED.cluster is None


def test_a_root_is_also_where_its_links_lead(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    bounds = Bounds.of(file_roots=[str(tmp_path / "link")])
    assert bounds.file_roots == (tmp_path / "link", (tmp_path / "there").resolve())


def test_a_host_that_is_none_is_told() -> None:
    with pytest.raises(SpecInvalid, match='"a b" is not a host'):
        Bounds.of(webhook_hosts=["a.example.com", "a b"])


def test_each_bounds_have_their_own_provider() -> None:
    bounds = Bounds.of(webhook_hosts=["a.example.com"])
    spec = {"webhook": {"url": "https://a.example.com/{{ key }}"}}
    one, _ = parse_provider(spec, cluster_scoped=True, bounds=bounds)
    assert one is provider("webhook", bounds)
    assert one is not provider("webhook")
    assert provider("aws", bounds).name == "aws"


def test_the_own_cluster_is_trusted_without_an_identity() -> None:
    issuer = Issuer("authority")
    context = OwnCluster("https://k", issuer.pem.encode()).trust()
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert "PRIVATE" not in repr(OwnCluster("https://k", issuer.key_pem.encode()))
    assert OwnCluster("http://127.0.0.1:8001").trust() is None

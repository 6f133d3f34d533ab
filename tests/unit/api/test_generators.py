"""How an ExternalSecret names generators."""

from typing import Any

import pytest

from support.objects import external_secret
from syncret.api.data import RemoteRef
from syncret.api.keys import ObjectKey


def entry(**more: Any) -> dict[str, Any]:
    return {"sourceRef": {"generatorRef": {"name": "db"}}, **more}


def test_a_generator_is_a_store_and_what_it_made_a_remote_secret() -> None:
    record = external_secret(data=[], secretStoreRef=None, dataFrom=[entry()])
    namespace, name = record.key.namespace, record.key.name
    assert record.problem == ""
    assert record.stores == record.generators == (ObjectKey("Generator", namespace, "db"),)
    assert record.data_from[0].source == RemoteRef(f"{namespace}/{name}/db")


def test_a_cluster_generator_has_no_namespace() -> None:
    source = {"sourceRef": {"generatorRef": {"name": "db", "kind": "ClusterGenerator"}}}
    record = external_secret(dataFrom=[source, entry()])
    assert [str(one) for one in record.generators] == [
        "ClusterGenerator db",
        f"Generator {record.key.namespace}/db",
    ]
    assert len(record.stores) == 2


def test_without_generators_there_are_none() -> None:
    assert external_secret().generators == ()


def test_what_is_made_is_renamed_as_what_is_read() -> None:
    step = {"regexp": {"source": "^", "target": "db-"}}
    record = external_secret(dataFrom=[entry(rewrite=[step])])
    assert len(record.data_from[0].rewrite) == 1


@pytest.mark.parametrize("more", [{"extract": {"key": "a"}}, {"optional": True}])
def test_a_generator_makes_its_keys_itself(more: dict[str, Any]) -> None:
    assert "has a generatorRef" in external_secret(dataFrom=[entry(**more)]).problem


def test_no_target_has_the_name_of_what_generators_made() -> None:
    problem = external_secret(target={"name": "syncret-generated-u"}).problem
    assert "syncret-generated-" in problem

"""The chart's ClusterRole: what is missing in it is named, and nothing in it is superfluous.

A role that lacks something is that of the chart without it, for a ServiceAccount of the test's own.
"""

import pytest

from integration import manifests
from integration.audit import Audit
from integration.conftest import StartAlone
from integration.manifests import entry, env
from integration.roles import NarrowRole, Permission
from integration.world import World, leases
from testbed.operator import NAMESPACE

WATCHED = {
    "syncret.io": (
        "externalsecrets",
        "secretstores",
        "clustersecretstores",
        "clusterexternalsecrets",
        "generators",
        "clustergenerators",
    ),
    "": ("secrets",),
    "apps": ("deployments", "statefulsets", "daemonsets"),
}


def qualified(group: str, resource: str) -> str:
    plural, slash, subresource = resource.partition("/")
    return f"{plural}.{group}{slash}{subresource}".replace("./", "/").rstrip(".")


def asking(permission: Permission, where: str) -> str:
    """The sentence that asks for a permission."""
    group, resource, verb = permission
    return (
        f'The operator may not {verb} {resource} {where}: grant the verb "{verb}" on the resource '
        f'"{qualified(group, resource)}" to its ServiceAccount.'
    )


def start(world: World, alone: StartAlone, role: NarrowRole) -> None:
    """An operator with that role, a value to sync and a workload that reads it."""
    world.operator = alone(service_account=role.name)
    world.put("k", "first")
    world.workload("reader", container=env("app", "k"))
    world.external_secret(data=[entry("k", world.key("k"))])


def logged(world: World, sentence: str) -> None:
    world.wait(lambda: sentence in world.operator.log.replace('\\"', '"'), f"logged: {sentence}")


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_kinds_of_workloads_that_it_may_not_see_keep_it_from_nothing_else(
    argo: None, lonely_world: World, alone: StartAlone, role: NarrowRole, verb: str
) -> None:
    world = lonely_world
    role.lack(
        ("batch", "jobs", verb), ("batch", "cronjobs", verb), ("argoproj.io", "rollouts", verb)
    )
    start(world, alone, role)
    world.wait_data({"k": b"first"})
    world.wait(lambda: world.status().get("rollout"), "the reader is known")
    world.put("k", "second")
    world.wait(lambda: world.generation("reader") == 2, "the reader is restarted")
    if verb == "list":
        sentence = asking(("batch", "jobs", "list"), "in the whole cluster")
        assert world.operator.log.replace('\\"', '"').count("may not list jobs") == 1, sentence


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_what_it_may_not_watch_is_told_by_readyz_until_it_may(
    lonely_world: World, alone: StartAlone, role: NarrowRole, verb: str
) -> None:
    world = lonely_world
    missing = [(group, name, verb) for group, names in WATCHED.items() for name in names]
    role.lack(*missing)
    operator = world.operator = alone(service_account=role.name, ready=False)
    expected = {
        f'The operator may not {verb} {qualified(group, name)}: grant the verb "{verb}" on the '
        f'resource "{qualified(group, name)}" to its ServiceAccount.'
        for group, name, _ in missing
    }

    def problems() -> set[str]:
        status, text = operator.probe("/readyz")
        return set(text.splitlines()) if status == 503 else set()

    world.wait(lambda: problems() == expected, "every missing permission is named")
    assert operator.probe("/healthz")[0] == 200  # a restart would not mend it
    world.put("k", "v")
    world.external_secret(data=[entry("k", world.key("k"))])

    role.lack()

    operator.wait_ready()
    world.wait_data({"k": b"v"})


def test_without_reading_secrets_it_ends_and_says_why(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    permission = ("", "secrets", "get")
    role.lack(permission)

    operator = alone(service_account=role.name, ready=False)

    assert operator.running.process.wait(60) == 1
    *_, last = operator.log_records()
    assert (last["level"], last["reason"]) == ("critical", "Forbidden")
    assert last["message"] == asking(permission, f'in namespace "{NAMESPACE}"')


def test_without_creating_secrets_the_condition_says_so(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    world, permission = lonely_world, ("", "secrets", "create")
    role.lack(permission)
    start(world, alone, role)

    ready = world.wait_ready(status="False", reason="Forbidden")

    message = asking(permission, f'in namespace "{world.namespace}"')
    assert ready["message"] == message
    world.wait(lambda: world.events() == [("Warning", "Forbidden", message)], "it is told")
    role.lack()
    world.wait_data({"k": b"first"})


def test_without_patching_secrets_the_secret_stays_as_it_is(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    world, permission = lonely_world, ("", "secrets", "patch")
    role.lack(permission)
    start(world, alone, role)
    world.wait_ready()
    version = world.version("Secret", "app")

    world.put("k", "second")

    ready = world.wait_ready(status="False", reason="Forbidden")
    assert ready["message"] == asking(permission, f'in namespace "{world.namespace}"')
    assert world.version("Secret", "app") == version
    role.lack()
    world.wait_data({"k": b"second"})


def test_without_deleting_secrets_what_needs_it_says_so_and_the_rest_works(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    world, permission = lonely_world, ("", "secrets", "delete")
    role.lack(permission)
    start(world, alone, role)
    world.wait_ready()
    data = [entry("k", world.key("k"))]
    world.external_secret("frozen", data=data, target={"immutable": True})
    world.external_secret("moving", data=data, target={"name": "old"})
    for name in ("frozen", "moving"):
        world.wait_ready(name)

    world.put("k", "second")
    world.external_secret("moving", data=data, target={"name": "new"})

    asked = asking(permission, f'in namespace "{world.namespace}"')
    assert world.wait_ready("frozen", status="False", reason="Forbidden")["message"] == asked
    assert world.data("frozen") == {"k": b"first"}
    world.wait_data({"k": b"second"})
    world.wait_data({"k": b"second"}, "new")
    told = ("Warning", "FormerSecretNotLeft", f'The former Secret "old" is still there: {asked}')
    world.wait(lambda: told in world.events("moving"), "it is told")
    role.lack()
    world.wait_data({"k": b"second"}, "frozen")
    world.wait(lambda: world.data("old") is None, "the former Secret is deleted")


def test_without_patching_workloads_the_event_says_so_and_the_restart_is_made_later(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    world, permission = lonely_world, ("apps", "deployments", "patch")
    role.lack(permission)
    start(world, alone, role)
    world.wait_ready()
    world.wait(lambda: world.status().get("rollout"), "the reader is known")

    world.put("k", "second")

    asked = asking(permission, f'in namespace "{world.namespace}"')
    told = ("Warning", "RolloutFailed", f'Deployment "reader" was not restarted: {asked}')
    world.wait(lambda: told in world.events(), "it is told")
    assert world.generation("reader") == 1
    role.lack()
    world.wait(lambda: world.generation("reader") == 2, "the restart is made")
    world.settle()
    assert world.generation("reader") == 2


def test_without_writing_the_status_the_log_says_so_and_the_work_is_done(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    world = lonely_world
    mine = ("syncret.io", "externalsecrets/status", "patch")
    stores = ("syncret.io", "secretstores/status", "patch")
    role.lack(mine, stores)
    start(world, alone, role)

    where = f'in namespace "{world.namespace}"'
    world.wait_data({"k": b"first"})
    logged(world, f"The status could not be written: {asking(mine, where)}")
    logged(world, f"The status of a store could not be written: {asking(stores, where)}")
    assert world.status() == {"observedGeneration": -1}
    role.lack()
    world.wait_ready()


def test_without_posting_events_the_log_says_so_and_the_work_is_done(
    lonely_world: World, alone: StartAlone, role: NarrowRole
) -> None:
    world, permission = lonely_world, ("events.k8s.io", "events", "create")
    role.lack(permission)
    start(world, alone, role)

    world.wait_ready()
    asked = asking(permission, f'in namespace "{world.namespace}"')
    logged(world, f"Events are not posted: {asked}")
    assert world.events() == []
    role.lack()
    world.put("k", "second")
    world.wait(world.events, "they are posted again")


def stamp(world: World) -> None:
    """A ClusterExternalSecret makes an ExternalSecret, changes it, and takes it away."""
    name = f"stamped-{world.namespace}"
    spec = manifests.external_secret(world.namespace, data=[entry("k", world.key("k"))])["spec"]
    for interval in ("1h", "2h"):
        spec["refreshInterval"] = interval
        world.apply(
            manifests.cluster_external_secret(name, spec=spec, namespaces=[world.namespace])
        )

        def is_there(interval: str = interval) -> bool:
            found = world.find("ExternalSecret", name)
            return found is not None and found["spec"]["refreshInterval"] == interval

        world.wait(is_there, "it is made, and changed")
    world.apply(manifests.cluster_external_secret(name, spec=spec, namespaces=["nowhere"]))
    world.wait(lambda: world.find("ExternalSecret", name) is None, "it is taken away")


def test_every_permission_of_the_chart_is_used_and_no_other_is_asked_for(
    argo: None, lonely_world: World, alone: StartAlone, audit: Audit
) -> None:
    """Drives the operator through all that it does, the refused restart included."""
    world = lonely_world
    mark = audit.mark()
    world.apply(*leases(world.api, "syncret", world.namespace, account="syncret"))
    # A digest key is made, and a Lease for the replica itself.
    world.operator = alone("--shards=2", env={"POD_NAMESPACE": world.namespace})
    kinds = ("Deployment", "StatefulSet", "DaemonSet", "Rollout")
    for kind in kinds[:3]:
        world.workload("reader", kind=kind, container=env("app", "k"))
    world.apply(manifests.rollout(world.namespace, "reader", container=env("app", "k")))
    shared = manifests.cluster_store(
        f"shared-{world.namespace}", world.endpoint, credentials_in=world.namespace
    )
    world.apply(shared)
    stamp(world)
    world.put("k", "first")
    form = {"name": "form", "namespace": world.namespace}
    world.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": form, "data": {"t": "1"}})
    source = {"configMap": {"name": "form", "items": [{"key": "t"}]}}
    template = {"templateFrom": [source], "data": {"k": "{{ k }}"}}
    world.external_secret(data=[entry("k", world.key("k"))], target={"template": template})
    world.wait_ready()
    world.patch("ConfigMap", "form", {"data": {"t": "2"}})
    world.wait_data({"k": b"first", "t": b"2"})
    world.wait(
        lambda: len(world.status().get("rollout", {}).get("targets", ())) == 4,
        "the readers are known",
    )
    policy = f"refuse-{world.namespace}"
    plurals = ("deployments", "statefulsets", "daemonsets")
    place = (policy, world.namespace)
    world.apply(*manifests.refusing(*place, group="apps", resources=plurals, message="'not now'"))
    refusals = manifests.refusing(
        f"{policy}-argo",
        world.namespace,
        group="argoproj.io",
        version="v1alpha1",
        resources=["rollouts"],
        message="'not now'",
    )
    world.apply(*refusals)
    for kind in kinds:
        world.wait_refused(kind, "reader")
    world.put("k", "second")

    def refused(kind: str) -> bool:
        return world.operator.metric("syncret_rollouts_total", kind=kind, result="failed") > 0

    world.wait(lambda: all(map(refused, kinds)), "the restarts are refused")
    for kind in ("ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
        world.api.delete(kind, policy)
        world.api.delete(kind, f"{policy}-argo")
    world.wait(
        lambda: [world.generation("reader", kind) for kind in kinds] == [2] * len(kinds),
        "they are restarted",
    )
    world.wait(
        lambda: world.api.get("ClusterSecretStore", shared["metadata"]["name"], "").get("status"),  # type: ignore[union-attr]
        "the shared store is checked",
    )

    makers = [("Generator", world.namespace), ("ClusterGenerator", "")]
    for _, namespace in makers:
        world.apply(manifests.generator(f"maker-{world.namespace}", namespace, uuid={}))
    world.wait(
        lambda: all(
            (world.api.get(kind, f"maker-{world.namespace}", namespace) or {}).get("status")
            for kind, namespace in makers
        ),
        "the generators are checked",
    )

    world.external_secret("moving", data=[entry("k", world.key("k"))], target={"name": "old"})
    world.wait_ready("moving")
    world.external_secret("moving", data=[entry("k", world.key("k"))], target={"name": "new"})
    world.wait(lambda: world.data("new") and world.data("old") is None, "the former one is deleted")

    assert world.operator.stop() == 0
    role, own = world.api.get("ClusterRole", "syncret"), world.api.get("Role", "syncret", NAMESPACE)
    assert role is not None
    assert own is not None
    granted = {
        (group, resource, verb)
        for rule in (*role["rules"], *own["rules"])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    requests = audit.requests(mark)
    assert {r.permission for r in requests if r.resource} == granted
    assert [r for r in requests if not r.allowed] == []
    assert [r for r in audit.requests() if not r.allowed] == []  # the whole session's

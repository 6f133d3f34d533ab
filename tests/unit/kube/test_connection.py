"""Finding the API server and authenticating to it, over real HTTP and TLS."""

import asyncio
import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from support.clock import FakeClock
from syncret.errors import KubeUnauthorized, KubeUnavailable, SetupError
from syncret.kube.client import KubeClient
from syncret.kube.connection import Connection, find_connection, in_cluster, open_session
from syncret.kube.resources import SECRETS
from unit.kube.apiserver import ApiServer, running, says
from unit.kube.pki import Pki, make_pki

CANARY = "hunter2-not-real"


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return make_pki(tmp_path)


def kubeconfig(
    folder: Path,
    server: str,
    *,
    user: Mapping[str, Any] | None = None,
    cluster: Mapping[str, Any] | None = None,
    namespace: str = "",
    name: str = "kubeconfig",
) -> str:
    context: dict[str, Any] = {"cluster": "c"}
    if user is not None:
        context["user"] = "u"
    if namespace:
        context["namespace"] = namespace
    path = folder / name
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "x",
                "contexts": [{"name": "x", "context": context}],
                "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
                "users": [{"name": "u", "user": dict(user)}] if user is not None else [],
            }
        )
    )
    return str(path)


def plugin(folder: Path, status: str) -> dict[str, Any]:
    """An exec plugin that prints the status in a file, and counts its runs in another."""
    (folder / "status.json").write_text(status)
    script = folder / "plugin.sh"
    script.write_text(
        "#!/bin/sh\n"
        f"echo run >> {folder}/runs\n"
        'printf \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", '
        '"status": \'\n'
        f"cat {folder}/status.json && printf '}}'\n"
    )
    script.chmod(0o700)
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": str(script),
            "interactiveMode": "Never",
        }
    }


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().split())


def pod(folder: Path, *, ca: Path | None = None) -> Path:
    folder = folder / "serviceaccount"
    folder.mkdir(exist_ok=True)
    (folder / "token").write_text("one\n")
    (folder / "namespace").write_text("syncret-system")
    if ca is not None:
        (folder / "ca.crt").write_bytes(ca.read_bytes())
    return folder


async def get(connection: Connection) -> dict[str, Any]:
    async with open_session(connection) as session:
        return await KubeClient(session, connection.server).get(SECRETS, name="a", namespace="n")


async def authorizations(connection: Connection, api: ApiServer, *, calls: int = 1) -> list[str]:
    """What the server was sent in so many calls that it accepts."""
    api.seen.clear()
    api.answers.extend([says(200)] * calls)
    async with open_session(connection) as session:
        client = KubeClient(session, connection.server)
        for _ in range(calls):
            await client.get(SECRETS, name="a", namespace="n")
    return [seen.headers.get("Authorization", "") for seen in api.seen]


async def test_nothing_found_says_what_to_set(clock: FakeClock, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="set KUBECONFIG"):
        await find_connection(clock=clock, environ={"HOME": str(tmp_path)})


async def test_a_kubeconfig_that_is_not_there_is_named(clock: FakeClock, tmp_path: Path) -> None:
    for how in (
        {"kubeconfig": "/nowhere/x", "environ": {}},
        {"environ": {"KUBECONFIG": "/nowhere/x"}},
    ):
        with pytest.raises(SetupError, match="/nowhere/x does not exist"):
            await find_connection(clock=clock, **how)


async def test_the_order_of_places(
    api: ApiServer, clock: FakeClock, tmp_path: Path, pki: Pki
) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube", f"{api.url}/home", name="config")
    environ = {"HOME": str(tmp_path)}
    account = pod(tmp_path, ca=pki.ca)

    async def server(given: str = "") -> str:
        connection = await find_connection(
            clock=clock, kubeconfig=given, environ=environ, service_account=account
        )
        return connection.server

    assert await server() == f"{api.url}/home"
    environ |= {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    assert await server() == "https://10.0.0.1:443"
    environ["KUBECONFIG"] = kubeconfig(tmp_path, f"{api.url}/env", name="env")
    assert await server() == f"{api.url}/env"
    assert await server(kubeconfig(tmp_path, f"{api.url}/given", name="g")) == f"{api.url}/given"


async def test_a_context_is_of_a_kubeconfig_even_in_a_pod(
    clock: FakeClock, tmp_path: Path, pki: Pki
) -> None:
    more = {
        "users": [{"name": "u", "user": {"token": "fake"}}],
        "current-context": "x",
        "clusters": [{"name": "d", "cluster": {"server": "https://two"}}],
        "contexts": [{"name": "y", "context": {"cluster": "d", "user": "u", "namespace": "t"}}],
    }
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(yaml.safe_dump(more))
    environ = {
        "HOME": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    account = pod(tmp_path, ca=pki.ca)
    connection = await find_connection(
        clock=clock, context="y", environ=environ, service_account=account
    )
    assert (connection.server, connection.default_namespace) == ("https://two", "t")
    assert connection.source.endswith("context y")
    with pytest.raises(SetupError, match='no context "z" in '):
        await find_connection(clock=clock, context="z", environ=environ)


async def test_a_kubeconfig_without_a_user(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path, f"{api.url}/cluster/a/", namespace="team")
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    assert connection.default_namespace == "team"
    assert await authorizations(connection, api) == [""]
    assert api.seen[0].path == "/cluster/a/api/v1/namespaces/n/secrets/a"


async def test_files_are_merged(api: ApiServer, clock: FakeClock, tmp_path: Path) -> None:
    users = tmp_path / "users"
    users.write_text(yaml.safe_dump({"users": [{"name": "u", "user": {"token": "merged"}}]}))
    main = tmp_path / "main"
    kubeconfig(tmp_path, api.url, user={}, name="main")
    main.write_text(yaml.safe_dump(yaml.safe_load(main.read_text()) | {"users": []}))
    environ = {"KUBECONFIG": f"{main}{os.pathsep}{tmp_path}/absent{os.pathsep}{users}"}
    connection = await find_connection(clock=clock, environ=environ)
    assert await authorizations(connection, api) == ["Bearer merged"]


async def test_password(api: ApiServer, clock: FakeClock, tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, api.url, user={"username": "u", "password": "p"})
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    assert await authorizations(connection, api) == ["Basic dTpw"]


async def test_ca_data_and_token_over_tls(clock: FakeClock, tmp_path: Path, pki: Pki) -> None:
    async with running(pki.server_context()) as api:
        ca = base64.b64encode(pki.ca.read_bytes()).decode()
        path = kubeconfig(
            tmp_path,
            api.url,
            user={"token": CANARY},
            cluster={"certificate-authority-data": ca},
        )
        connection = await find_connection(clock=clock, kubeconfig=path, environ={})
        assert await authorizations(connection, api) == [f"Bearer {CANARY}"]
    assert CANARY not in repr(connection)


async def test_client_certificates(clock: FakeClock, tmp_path: Path, pki: Pki) -> None:
    async with running(pki.server_context(client_certificates=True)) as api:
        cluster = {"certificate-authority": pki.ca.name}  # relative to the kubeconfig

        async def connect(user: Mapping[str, Any]) -> Connection:
            path = kubeconfig(tmp_path, api.url, user=user, cluster=cluster)
            return await find_connection(clock=clock, kubeconfig=path, environ={})

        user = {"client-certificate": str(pki.client_cert), "client-key": str(pki.client_key)}
        assert await authorizations(await connect(user), api) == [""]
        data = {
            "client-certificate-data": base64.b64encode(pki.client_cert.read_bytes()).decode(),
            "client-key-data": base64.b64encode(pki.client_key.read_bytes()).decode(),
        }
        assert await authorizations(await connect(data), api) == [""]
        given = {
            "clientCertificateData": pki.client_cert.read_text(),
            "clientKeyData": pki.client_key.read_text(),
        }
        exec_user = plugin(tmp_path, json.dumps(given))
        assert await authorizations(await connect(exec_user), api) == [""]
        with pytest.raises(KubeUnavailable):
            await get(await connect({"token": "t"}))


async def test_a_server_of_another_ca_is_not_trusted(
    clock: FakeClock, tmp_path: Path, pki: Pki
) -> None:
    (tmp_path / "other").mkdir()
    other = make_pki(tmp_path / "other")
    async with running(pki.server_context()) as api:
        cluster = {"certificate-authority": str(other.ca)}
        path = kubeconfig(tmp_path, api.url, user={"token": CANARY}, cluster=cluster)
        connection = await find_connection(clock=clock, kubeconfig=path, environ={})
        with pytest.raises(KubeUnavailable, match="check the CA"):
            await get(connection)
        assert api.seen == []
        insecure = {"insecure-skip-tls-verify": True}
        path = kubeconfig(tmp_path, api.url, user={"token": "t"}, cluster=insecure)
        connection = await find_connection(clock=clock, kubeconfig=path, environ={})
        assert await authorizations(connection, api) == ["Bearer t"]


async def test_tls_server_name(clock: FakeClock, tmp_path: Path) -> None:
    pki = make_pki(tmp_path, names=("kubernetes.test",))
    async with running(pki.server_context()) as api:
        cluster = {"certificate-authority": str(pki.ca)}
        path = kubeconfig(tmp_path, api.url, user={"token": "t"}, cluster=cluster)
        with pytest.raises(KubeUnavailable):
            await get(await find_connection(clock=clock, kubeconfig=path, environ={}))
        cluster["tls-server-name"] = "kubernetes.test"
        path = kubeconfig(tmp_path, api.url, user={"token": "t"}, cluster=cluster)
        connection = await find_connection(clock=clock, kubeconfig=path, environ={})
        assert await authorizations(connection, api) == ["Bearer t"]


BROKEN = {
    "empty": "",
    "list": "- just a list",
    "no YAML": "{",
    "no context": f"users: [{{name: u, user: {{token: {CANARY}}}}}]",
    "no cluster": f"""
        current-context: x
        contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
        clusters: []
        users: [{{name: u, user: {{token: {CANARY}}}}}]
        """,
    "no http": """
        current-context: x
        contexts: [{name: x, context: {cluster: c}}]
        clusters: [{name: c, cluster: {server: "ftp://x"}}]
        users: []
        """,
    "no certificate": f"""
        current-context: x
        contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
        clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:1"}}}}]
        users: [{{name: u, user: {{client-certificate-data: {CANARY}, client-key-data: x}}}}]
        """,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
async def test_a_broken_kubeconfig_shows_nothing_of_itself(
    clock: FakeClock, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    with pytest.raises(SetupError) as caught:
        await find_connection(clock=clock, kubeconfig=str(path), environ={})
    assert str(path) in caught.value.message
    assert CANARY not in caught.value.message
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_exec_plugin_until_its_token_ends(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    # The loader itself compares with the machine's time when it is asked again, so the token ends
    # in its far future; ours is the fake clock, which is moved there.
    end = {"expirationTimestamp": "2090-01-01T00:00:00Z"}
    user = plugin(tmp_path, json.dumps({"token": "one", **end}))
    path = kubeconfig(tmp_path, api.url, user=user)
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    assert await authorizations(connection, api, calls=3) == ["Bearer one"] * 3
    assert runs(tmp_path) == 1
    (tmp_path / "status.json").write_text(json.dumps({"token": "two"}))
    clock.advance(3_786_912_000 - clock.wall() - 100)
    assert await authorizations(connection, api, calls=3) == ["Bearer two"] * 3
    assert runs(tmp_path) == 2


async def test_exec_plugin_whose_token_is_refused(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path, api.url, user=plugin(tmp_path, '{"token": "one"}'))
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    (tmp_path / "status.json").write_text('{"token": "two"}')
    clock.advance(60)
    api.answers += [says(401), says(200, {"ok": 1})]
    assert await get(connection) == {"ok": 1}
    sent = [seen.headers["Authorization"] for seen in api.seen]
    assert sent == ["Bearer one", "Bearer two"]

    # A server that refuses whatever it is given does not start a process for each request.
    clock.advance(60)
    api.answers.extend([says(401)] * 10)
    for _ in range(5):
        with pytest.raises(KubeUnauthorized):
            await get(connection)
    assert runs(tmp_path) == 3


async def test_a_plugin_that_fails_later_leaves_the_old_token(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path, api.url, user=plugin(tmp_path, '{"token": "one"}'))
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    (tmp_path / "status.json").write_text("{}")
    clock.advance(60)
    api.answers.append(says(401))
    with pytest.raises(KubeUnauthorized):
        await get(connection)
    assert await authorizations(connection, api) == ["Bearer one"]


@pytest.mark.parametrize("status", ["{}", "no JSON"])
async def test_a_plugin_that_gives_nothing(clock: FakeClock, tmp_path: Path, status: str) -> None:
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", user=plugin(tmp_path, status))
    with pytest.raises(SetupError, match="exec plugin"):
        await find_connection(clock=clock, kubeconfig=path, environ={})


async def test_token_file_of_a_kubeconfig(api: ApiServer, clock: FakeClock, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("one\n")
    path = kubeconfig(tmp_path, api.url, user={"tokenFile": "token"})
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    assert await authorizations(connection, api) == ["Bearer one"]
    token.write_text("two\n")
    clock.advance(60)
    api.answers += [says(401), says(200)]
    await get(connection)
    assert await authorizations(connection, api) == ["Bearer two"]


@pytest.mark.parametrize(
    ("host", "server"),
    [("10.0.0.1", "https://10.0.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")],
)
def test_in_cluster(clock: FakeClock, tmp_path: Path, pki: Pki, host: str, server: str) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443"}
    connection = in_cluster(environ, clock=clock, service_account=pod(tmp_path, ca=pki.ca))
    assert connection.server == server
    assert connection.default_namespace == "syncret-system"
    assert connection.tls is not None
    assert connection.tls.check_hostname


@pytest.mark.parametrize("missing", ["token", "ca.crt", "port"])
def test_in_cluster_with_something_missing(
    clock: FakeClock, tmp_path: Path, pki: Pki, missing: str
) -> None:
    account = pod(tmp_path, ca=pki.ca)
    environ = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "1"}
    if missing == "port":
        del environ["KUBERNETES_SERVICE_PORT"]
    else:
        (account / missing).write_text("")
    with pytest.raises(SetupError, match=missing if missing != "port" else "SERVICE_PORT"):
        in_cluster(environ, clock=clock, service_account=account)


async def test_a_projected_token_is_followed(clock: FakeClock, tmp_path: Path, pki: Pki) -> None:
    async with running(pki.server_context()) as api:
        account = pod(tmp_path, ca=pki.ca)
        host, port = api.url.removeprefix("https://").split(":")
        environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
        connection = in_cluster(environ, clock=clock, service_account=account)
        token = account / "token"
        token.write_text("two")
        assert await authorizations(connection, api) == ["Bearer one"]
        clock.advance(60)
        assert await authorizations(connection, api) == ["Bearer two"]

        token.write_text("three")  # refused before the minute is over
        api.answers += [says(401), says(200)]
        await get(connection)
        assert await authorizations(connection, api) == ["Bearer three"]

        token.write_text("")  # never seen of a kubelet; the old one goes on
        clock.advance(60)
        assert await authorizations(connection, api) == ["Bearer three"]


async def test_a_token_that_stays_refused_is_sent_once(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path, api.url, user={"token": "one"})
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    api.answers.append(says(401))
    with pytest.raises(KubeUnauthorized):
        await get(connection)
    assert len(api.seen) == 1


async def test_a_refused_write_is_repeated_with_its_body(
    clock: FakeClock, tmp_path: Path, api: ApiServer
) -> None:
    (tmp_path / "token").write_text("one")
    path = kubeconfig(tmp_path, api.url, user={"tokenFile": "token"})
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    (tmp_path / "token").write_text("two")
    clock.advance(60)
    api.answers += [says(401), says(201)]
    async with open_session(connection) as session:
        client = KubeClient(session, connection.server)
        await client.create(SECRETS, {"data": {"k": "dg=="}}, namespace="n", field_manager="m")
    assert [seen.body for seen in api.seen] == [b'{"data":{"k":"dg=="}}'] * 2


async def test_the_token_goes_to_the_api_server_only(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    path = kubeconfig(tmp_path, api.url, user={"token": CANARY})
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    async with running() as elsewhere:
        api.answers.append(says(307, headers={"Location": f"{elsewhere.url}/x"}))
        elsewhere.answers.append(says(200))
        async with open_session(connection) as session, session.get(f"{api.url}/y") as response:
            assert response.status == 200
        assert [seen.path for seen in elsewhere.seen] == ["/x"]
        assert "Authorization" not in elsewhere.seen[0].headers


async def test_a_proxy_of_the_environment_is_not_used(
    api: ApiServer, clock: FakeClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        path = kubeconfig(tmp_path, api.url)
        connection = await find_connection(clock=clock, kubeconfig=path, environ={})
        api.answers.append(says(200))
        await get(connection)
        assert (len(api.seen), len(proxy.seen)) == (1, 0)

        path = kubeconfig(tmp_path, api.url, cluster={"proxy-url": proxy.url})
        connection = await find_connection(clock=clock, kubeconfig=path, environ={})
        proxy.answers.append(says(200))
        await get(connection)
        assert (len(api.seen), len(proxy.seen)) == (1, 1)


async def test_middlewares_of_the_caller_see_the_last_answer_only(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("one")
    path = kubeconfig(tmp_path, api.url, user={"tokenFile": "token"})
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    (tmp_path / "token").write_text("two")
    clock.advance(60)
    statuses = []

    async def note(
        request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(request)
        statuses.append(response.status)
        return response

    api.answers += [says(401), says(200)]
    async with open_session(connection, middlewares=[note]) as session:
        await KubeClient(session, api.url).get(SECRETS, name="a", namespace="n")
    assert statuses == [200]


async def test_open_connections_are_bounded(
    api: ApiServer, clock: FakeClock, tmp_path: Path
) -> None:
    open_now, most, full, proceed = 0, 0, asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 2:
            full.set()
        await proceed.wait()
        open_now -= 1
        return web.json_response({})

    path = kubeconfig(tmp_path, api.url)
    connection = await find_connection(clock=clock, kubeconfig=path, environ={})
    api.answers.extend([slow] * 6)
    async with open_session(connection, connections=2) as session:
        client = KubeClient(session, api.url)
        calls = [client.get(SECRETS, name="a", namespace="n") for _ in range(6)]
        tasks = [asyncio.create_task(call) for call in calls]
        await full.wait()
        proceed.set()
        await asyncio.gather(*tasks)
    assert most == 2


def test_a_pod_does_not_pay_for_the_official_client(tmp_path: Path, pki: Pki) -> None:
    account = pod(tmp_path, ca=pki.ca)
    code = (
        "import sys, pathlib\n"
        "from syncret.clock import SystemClock\n"
        "from syncret.kube.connection import in_cluster\n"
        "environ = {'KUBERNETES_SERVICE_HOST': '::1', 'KUBERNETES_SERVICE_PORT': '1'}\n"
        "account = pathlib.Path(sys.argv[1])\n"
        "print(in_cluster(environ, clock=SystemClock(), service_account=account).server)\n"
        "print('kubernetes' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(account)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["https://[::1]:1", "False"]

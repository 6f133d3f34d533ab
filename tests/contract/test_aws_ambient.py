"""The operator's own identity, which the SDK finds: IRSA, EKS Pod Identity, an instance's profile.

The variables are those that EKS puts into a pod. What answers is moto's STS for IRSA, and
stand-ins on loopback for the other two.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.aws_sts import StsHarness, role, sts_error
from contract.opened import Opened, Opener, bytes_of, fresh
from syncret.errors import AccessDenied
from syncret.providers.base import Ref
from testbed.awsidentity import Identities
from testbed.moto import REGION, Moto


@pytest.fixture
def sts(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[StsHarness]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    harness = StsHarness(moto)
    yield harness
    harness.close()


@pytest.fixture
def identities() -> Iterator[Identities]:
    identities = Identities()
    yield identities
    identities.close()


@pytest.fixture(params=["pod-identity", "instance"])
def pod(
    request: pytest.FixtureRequest,
    identities: Identities,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Identities:
    """The operator's pod with one of the two."""
    if request.param == "pod-identity":
        file = tmp_path / "token"
        file.write_text(identities.token)
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{identities.url}/v1/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(file))
    else:
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", identities.url)
    return identities


@pytest.fixture
def irsa(sts: StsHarness, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The operator's pod with a projected token: the file that holds it."""
    file = tmp_path / "token"
    file.write_text("projected-token")
    monkeypatch.setenv("AWS_ROLE_ARN", role("operator"))
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sts.proxy.url)
    return file


@pytest.fixture
def irsa_without_token(irsa: Path) -> None:
    irsa.unlink()


async def read(opened: Opened, key: str) -> bytes:
    return bytes_of((await opened.client.fetch([Ref(key)]))[Ref(key)])


async def test_the_pods_identity_reads(sts: StsHarness, opener: Opener, pod: Identities) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(sts, ambient=True)
    sts.readers |= set(pod.given)
    assert await asyncio.gather(*(read(opened, key) for _ in range(20))) == [b"value"] * 20
    assert set(sts.reads) == set(pod.given)
    assert len(pod.given) == 1
    assert sts.logins == []


@pytest.mark.parametrize("pod", ["pod-identity"], indirect=True)
async def test_the_pods_identity_is_renewed_by_the_sdk(
    sts: StsHarness, opener: Opener, pod: Identities
) -> None:
    key = fresh()
    sts.put(key)
    pod.lifetime = 300  # the SDK renews with a quarter of an hour left; of an instance, later
    opened = await opener(sts, ambient=True)
    pod.lifetime = 6 * 3600
    sts.proxy.rules.clear()  # whoever signs
    await read(opened, key)
    await read(opened, key)
    assert len(pod.given) == 2
    assert sts.reads == [pod.given[1]] * 2


async def test_the_pods_identity_assumes_a_role(
    sts: StsHarness, opener: Opener, pod: Identities
) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(sts, ambient=True, role=role("reader"))
    await asyncio.gather(*(read(opened, key) for _ in range(10)))
    (login,) = sts.logins
    assert login.by in pod.given
    assert set(sts.reads) == {login.key}
    sts.fault = lambda _: sts_error("AccessDenied", status=403)
    again = await opener(sts, ambient=True, role=role("reader"))
    with pytest.raises(AccessDenied, match="cannot be assumed by the operator's own identity"):
        await again.client.check()


async def test_an_identity_that_is_refused_is_told(
    sts: StsHarness, opener: Opener, pod: Identities
) -> None:
    pod.refuses = True

    async def open_and_check() -> None:
        await (await opener(sts, ambient=True)).client.check()

    with pytest.raises(AccessDenied, match="the operator's pod"):
        await open_and_check()


@pytest.mark.usefixtures("irsa")
async def test_a_projected_token_reads(sts: StsHarness, opener: Opener) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(sts, ambient=True)
    await asyncio.gather(*(read(opened, key) for _ in range(20)))
    (login,) = sts.logins
    assert login.action == "AssumeRoleWithWebIdentity"
    assert login.parameter("RoleArn") == role("operator")
    assert login.parameter("WebIdentityToken") == "projected-token"
    assert set(sts.reads) == {login.key}


@pytest.mark.usefixtures("irsa")
async def test_a_projected_token_and_then_roles(sts: StsHarness, opener: Opener) -> None:
    key = fresh()
    sts.put(key)
    opened = await opener(
        sts, ambient=True, additionalRoles=[role("one")], role=role("reader"), externalID="id-1"
    )
    await read(opened, key)
    assert [login.parameter("RoleArn") for login in sts.logins] == [
        role("operator"),
        role("one"),
        role("reader"),
    ]
    assert [login.by for login in sts.logins] == ["", *(login.key for login in sts.logins[:2])]


@pytest.mark.usefixtures("irsa")
async def test_a_projected_token_that_is_refused_is_told(sts: StsHarness, opener: Opener) -> None:
    sts.fault = lambda _: sts_error("AccessDenied", "not authorized", status=403)
    opened = await opener(sts, ambient=True)
    with pytest.raises(AccessDenied, match="trust policy"):
        await opened.client.check()


@pytest.mark.usefixtures("irsa_without_token")
async def test_a_projected_token_that_is_not_there_is_told(sts: StsHarness, opener: Opener) -> None:
    opened = await opener(sts, ambient=True)
    with pytest.raises(AccessDenied, match="check the identity of the operator's pod"):
        await opened.client.check()


async def test_no_identity_at_all_is_told(sts: StsHarness, opener: Opener) -> None:
    for more in ({}, {"role": role("reader")}):
        opened = await opener(sts, ambient=True, **more)
        with pytest.raises(AccessDenied, match="No AWS credentials are found"):
            await opened.client.check()

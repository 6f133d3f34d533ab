"""What only files do: forms, volumes as the kubelet makes them, and paths that lead out."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.file import FileHarness
from contract.harness import Observations
from contract.opened import bytes_of
from syncret.errors import AccessDenied, ProviderError, ProviderUnavailable, StoreInvalid
from syncret.providers.base import NotFound, Query, Ref, Unchanged
from syncret.providers.bounds import Bounds
from syncret.providers.file.provider import FileProvider


@pytest.fixture
def files(directory: Path) -> Iterator[FileHarness]:
    harness = FileHarness(directory)
    yield harness
    harness.close()


TEXTS = {
    "Env": "# comment\nexport USER=app\nPASSWORD='p w'\n",
    "JSON": '{"USER": "app", "PASSWORD": "p w"}',
    "YAML": "USER: app\nPASSWORD: p w\n",
}


@pytest.mark.parametrize("form", TEXTS)
async def test_one_file_holds_them_all(files: FileHarness, form: str) -> None:
    path = files.root / "app.any"
    path.write_text(TEXTS[form])
    observed = Observations()
    client = await files.open(observed, path=path, form=form)
    refs = [Ref("USER"), Ref("PASSWORD"), Ref("NONE")]
    outcomes = await client.fetch(refs)
    assert [bytes_of(outcomes[ref]) for ref in refs[:2]] == [b"app", b"p w"]
    assert outcomes[refs[2]] == NotFound()
    assert observed.calls == [("ReadFile", "ok")], "read once"
    assert (await client.find(Query())).keys == ("PASSWORD", "USER")
    await client.check()


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("Env", "A=1\nthis is nothing\n", "line 2 is not KEY=value"),
        ("JSON", '{"A": 1,\n "B', "line 2 is not JSON"),
        ("YAML", "A: [1\nB: 2\n", "is not YAML"),
        ("JSON", "[1]", "not an object with keys"),
        ("Env", " \n", "is empty"),
        ("Env", "", "is empty"),
    ],
)
async def test_a_file_that_is_half_written_has_no_missing_keys(
    files: FileHarness, form: str, text: str, said: str
) -> None:
    path = files.root / "app.any"
    path.write_text(text)
    client = await files.open(Observations(), path=path, form=form)
    with pytest.raises(ProviderUnavailable) as raised:
        await client.fetch([Ref("NONE"), Ref("A")])
    assert said in raised.value.message


async def test_an_unmounted_directory_has_no_missing_keys(files: FileHarness) -> None:
    empty = files.root / "empty"
    empty.mkdir()
    client = await files.open(Observations(), path=empty)
    with pytest.raises(ProviderUnavailable, match="mounted"):
        await client.fetch([Ref("a")])
    with pytest.raises(ProviderUnavailable, match="mounted"):
        await client.check()


async def test_a_volume_of_the_kubelet_is_followed(files: FileHarness) -> None:
    volume = files.root / "volume"
    (volume / "..2026_1").mkdir(parents=True)
    (volume / "..2026_1" / "password").write_text("first")
    (volume / "..data").symlink_to("..2026_1")
    (volume / "password").symlink_to("..data/password")
    client = await files.open(Observations(), path=volume)
    ref = Ref("password")
    assert bytes_of((await client.fetch([ref]))[ref]) == b"first"
    assert (await client.find(Query())).keys == ("password",)

    (volume / "..2026_2").mkdir()
    (volume / "..2026_2" / "password").write_text("second")
    (volume / "..new").symlink_to("..2026_2")
    (volume / "..new").rename(volume / "..data")
    assert bytes_of((await client.fetch([ref]))[ref]) == b"second"
    inner = Ref("..2026_1/password")
    assert isinstance((await client.fetch([inner]))[inner], ProviderError)


async def test_a_file_that_was_left_alone_is_not_read_again(files: FileHarness) -> None:
    version = files.put("a", b"1")
    past = time.time() - 60
    os.utime(files.path / "a", (past, past))
    client = await files.open(Observations())
    ref = Ref("a")
    first = (await client.fetch([ref]))[ref]
    assert not isinstance(first, Unchanged)
    version = getattr(first, "version", version)
    assert (await client.fetch([ref], known={ref: version}))[ref] == Unchanged(version)
    files.put("a", b"2")
    assert bytes_of((await client.fetch([ref], known={ref: version}))[ref]) == b"2"


async def test_a_file_that_was_just_written_is_read(files: FileHarness) -> None:
    """Two writes of one size can have the same time."""
    version = files.put("a", b"1")
    client = await files.open(Observations())
    ref = Ref("a")
    assert bytes_of((await client.fetch([ref], known={ref: version}))[ref]) == b"1"


@pytest.mark.parametrize("target", ["/etc/passwd", "/proc/self/environ", "outside"])
async def test_links_that_lead_out_are_refused(files: FileHarness, target: str) -> None:
    (files.outside / "secret").write_text("not to be read")
    leads_to = files.outside / "secret" if target == "outside" else Path(target)
    (files.path / "leak").symlink_to(leads_to)
    (files.path / "folder").symlink_to(leads_to.parent)
    client = await files.open(Observations())
    refs = [Ref("leak"), Ref(f"folder/{leads_to.name}")]
    outcomes = await client.fetch(refs)
    assert all(isinstance(outcomes[ref], AccessDenied) for ref in refs), outcomes
    assert (await client.find(Query())).keys == ("there",)


async def test_a_root_may_be_a_link(files: FileHarness) -> None:
    (files.outside / "link").symlink_to(files.root)
    provider = FileProvider(Bounds.of(file_roots=[str(files.outside / "link")]))
    config = provider.parse({"path": str(files.outside / "link" / "store")}, cluster_scoped=True)
    client = await provider.open(config, {}, observe=Observations())
    ref = Ref("there")
    assert bytes_of((await client.fetch([ref]))[ref]) == b"is one"
    assert (await client.find(Query())).keys == ("there",)


async def test_a_directory_that_leads_out_is_refused(files: FileHarness) -> None:
    (files.outside / "secret").write_text("not to be read")
    (files.root / "link").symlink_to(files.outside)
    client = await files.open(Observations(), path=files.root / "link")
    ref = Ref("secret")
    assert isinstance((await client.fetch([ref]))[ref], AccessDenied)
    with pytest.raises(AccessDenied, match="file-store-roots"):
        await client.find(Query())
    with pytest.raises(AccessDenied, match="file-store-roots"):
        await client.check()


async def test_a_name_that_is_no_text_keeps_no_other_from_being_found(files: FileHarness) -> None:
    files.put("höflich 秘密", b"1")
    (files.path / os.fsdecode(b"\xff")).write_text("2")
    client = await files.open(Observations())
    assert (await client.find(Query())).keys == ("höflich 秘密", "there")
    await client.check()


async def test_what_is_no_file_is_not_waited_for(files: FileHarness) -> None:
    os.mkfifo(files.path / "pipe")
    (files.path / "folder").mkdir()
    client = await files.open(Observations())
    refs = [Ref("pipe"), Ref("folder")]
    outcomes = await client.fetch(refs)
    assert all(isinstance(outcomes[ref], ProviderError) for ref in refs)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/",
        "/root-but-longer/a",
        "/proc/self/environ",
        "/run/secrets/kubernetes.io/serviceaccount/token",
        "/var/run/secrets/kubernetes.io/serviceaccount/token",
    ],
)
async def test_paths_outside_of_the_roots_are_refused(path: str) -> None:
    await refused(path, "/root-but", "/run/secrets", "/var/run/secrets", "/proc")


async def test_without_roots_there_are_no_stores(tmp_path: Path) -> None:
    await refused(str(tmp_path / "a"))


async def refused(path: str, *roots: str) -> None:
    provider = FileProvider(Bounds.of(file_roots=roots))
    config = provider.parse({"path": path}, cluster_scoped=True)
    with pytest.raises(StoreInvalid, match="--file-store-roots"):
        await provider.open(config, {}, observe=Observations())

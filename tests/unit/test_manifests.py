"""What is read by the commands, and what is said of what cannot be."""

import io
from pathlib import Path

import pytest

from syncret import manifests

SECRET = "hunter2-not-real"


def read(*paths: object) -> list[tuple[str, list[manifests.Document]]]:
    return list(manifests.files([str(path) for path in paths]))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty: name a file with manifests"),
        (b"# nothing\n---\n", "is empty: name a file with manifests"),
        (b"a: [\n", "is not YAML, line 3: correct it there"),
        (b"kind: A\na: {{ .Values.a }}\n", "is not YAML, line 2, and has templates in it: have"),
        (b"\xff\xfek\0i\0", "is no text in UTF-8: save it in that encoding"),
        (b"- kind: A\n", "because it has no kind: name the files with manifests"),
        (b"replicas: 1\n", "because it has no kind: name the files with manifests"),
        (b"kind: [A]\n", "because it has no kind: name the files with manifests"),
        (b"kind: List\nitems: [3]\n", "holds a List with items that are no Kubernetes objects"),
        (b"kind: List\nitems: {a: b}\n", "holds a List with items that are no Kubernetes"),
        (b"kind: List\nitems: [{a: 1}]\n", "because it has no kind"),
    ],
)
def test_what_is_no_manifest_is_said_with_what_to_do(
    data: bytes, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(data + f"# {SECRET}\n".encode())
    with pytest.raises(manifests.Unreadable) as failed:
        read(path)
    told = str(failed.value)
    assert told.startswith(f"{path} ")
    assert said in told
    assert "\n" not in told
    assert SECRET not in told


def test_what_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(manifests.Unreadable, match=r"none\.yaml does not exist: correct the path"):
        read(tmp_path / "none.yaml")
    with pytest.raises(manifests.Unreadable, match=r"holds no file that ends with \.yaml or \.yml"):
        read(tmp_path)
    # Root may read everything, so what the system says to others is put in its place.
    (tmp_path / "a.yaml").touch()

    def refuse(_: Path) -> bytes:
        raise PermissionError(13, SECRET)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(manifests.Unreadable, match=r"you may not read .*a\.yaml") as failed:
        read(tmp_path)
    assert SECRET not in str(failed.value)


def test_an_empty_input_is_no_empty_list(monkeypatch: pytest.MonkeyPatch) -> None:
    def given(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), encoding="ascii"))

    given(b"")
    with pytest.raises(manifests.Unreadable, match="standard input is empty: see whether"):
        read("-")
    given(b"kind: List\nitems: null\n")
    assert read("-") == [("stdin.yaml", [])]
    given("\ufeffkind: A\nname: ü\n".encode())
    assert read("-") == [("stdin.yaml", [{"kind": "A", "name": "ü"}])]


def test_a_directory_is_read_with_those_below_it(tmp_path: Path) -> None:
    (tmp_path / "sub" / "folder.yaml").mkdir(parents=True)
    (tmp_path / "sub" / "folder.yaml" / "b.yml").write_text("kind: B", "utf-8")
    (tmp_path / "a.yaml").write_text("kind: AList\napiVersion: v1\nitems: [{x: 1}]", "utf-8")
    (tmp_path / "empty.yaml").touch()
    (tmp_path / "c.txt").write_text("no", "utf-8")
    assert read(tmp_path) == [
        ("a.yaml", [{"apiVersion": "v1", "kind": "A", "x": 1}]),
        ("empty.yaml", []),
        ("sub/folder.yaml/b.yml", [{"kind": "B"}]),
    ]

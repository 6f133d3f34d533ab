"""The pages for users name what the code has, and the links between pages lead somewhere."""

import inspect
import re
from pathlib import Path

import pytest

from syncret.errors import SyncretError
from syncret.providers import base

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]


def _reasons(error: type[SyncretError] = SyncretError) -> set[str]:
    return {error.reason}.union(*map(_reasons, error.__subclasses__()))


def test_every_reason_is_explained_to_those_who_meet_it() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([A-Z]\w+)`", page.partition("## Reasons")[2].partition("\n## ")[0]))
    assert named >= _reasons()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(
                r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE
            )
            assert anchor in {_slug(heading) for heading in headings}, target


AUTHORS = ROOT / "docs" / "adding-a-provider.md"


def test_the_page_for_authors_of_providers_has_the_whole_contract() -> None:
    """And nothing that is not in it."""
    listed = AUTHORS.read_text(encoding="utf-8").partition("## 1.")[2].partition("## 2.")[0]
    named = set(re.findall(r"^(?:client\.)?(\w+)\(", listed, flags=re.MULTILINE))
    contract = {
        name
        for protocol in (base.Provider, base.Client, base.Rotator)
        for name, _ in inspect.getmembers(protocol, inspect.isfunction)
        if not name.startswith("_")
    }
    assert named == contract


def test_the_page_for_authors_of_providers_names_what_there_is() -> None:
    """Files, commands and names, but for those of the store that it invents."""
    page = AUTHORS.read_text(encoding="utf-8")
    spans = {one for one in re.findall(r"`([^`\n]+)`", page) if "acme" not in one}
    code = "\n".join(
        file.read_text(encoding="utf-8")
        for place in ("operator/syncret", "tests/contract", "crds")
        for file in sorted((ROOT / place).rglob("*.*"))
        if file.suffix in {".py", ".yaml"}
    )
    for span in spans:
        if re.fullmatch(r"[\w.-]+(/[\w.-]*)+|\w+\.(md|toml)", span):
            places = (ROOT, ROOT / "operator" / "syncret")
            assert any((place / span.rstrip("/")).exists() for place in places), span
        elif name := re.fullmatch(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(\(.*\))?", span):
            assert re.search(rf"\b{name[1]}\b", code), span
    for command in re.findall(r"^(?:\.venv/bin/python )?(scripts/\S+)", page, flags=re.MULTILINE):
        assert (ROOT / command).exists(), command
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", page, flags=re.MULTILINE):
        assert f"\n{target}:" in targets, target


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")

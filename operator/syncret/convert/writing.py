"""Writes what was converted, with what is to be known about it in comments, and the summary."""

from collections.abc import Iterable, Sequence
from typing import Any

import yaml

from syncret.convert.result import Result


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks; lists below their name, as people write them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> str:
    """YAML, in the order in which it was given."""
    return yaml.dump(
        value,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=100_000,
        default_flow_style=False,
    )


def document(result: Result) -> str:
    """One document; what was lost stands above it."""
    lines = []
    if result.body is None:
        lines.append(f"# syncret convert: {result.name} is not converted.")
    for remark in result.remarks:
        where = f"{remark.path}: " if remark.path else ""
        kind = "" if remark.lost else "differs: "
        lines.append(f"# syncret convert: {where}{kind}{remark.text}")
        if remark.original is not None:
            lines += _commented(remark.original)
    if result.body is None:
        lines += _commented({n: v for n, v in result.source.items() if n != "status"})
    comments = "".join(f"{line}\n" for line in lines)
    return comments + (dump(result.body) if result.body is not None else "")


def _commented(value: Any) -> Iterable[str]:
    text = value if isinstance(value, str) else dump(value)
    # Whatever a reader of YAML takes for a line break would end the comment.
    return [f"#   {line}".rstrip() for line in text.splitlines()]


def documents(results: Sequence[Result]) -> str:
    """A file."""
    return "---\n".join(document(result) for result in results)


def summary(results: Sequence[Result]) -> list[str]:
    """What a person reads at the end. No value of a manifest stands here."""
    lines = []
    for result in results:
        for remark in result.remarks:
            where = f" {remark.path}" if remark.path else ""
            kind = "" if remark.lost else " differs"
            lines.append(f"{result.name}{where}{kind}: {remark.text}")
    ours = [result for result in results if not result.untouched]
    exact = sum(not result.remarks for result in ours)
    none = sum(result.body is None for result in ours)
    other = len(results) - len(ours)
    lines.append(
        f"{exact} converted exactly, {len(ours) - exact - none} converted with remarks, "
        f"{none} not converted" + (f"; {other} of other kinds, untouched" if other else "")
    )
    return lines

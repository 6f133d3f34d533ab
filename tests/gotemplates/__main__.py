"""Compares templates translated by ``syncret convert`` with what Go makes of the originals.

Usage: PYTHONPATH=tests:. .venv/bin/python -m gotemplates [COUNT [SEED]]

Random templates are rendered over random data by the real text/template with Sprig, and by
Syncret's own sandbox after their translation. Where the translator calls itself exact, both give
the same text, or both fail. It needs Go, and the module proxy when it is first built.
"""

import importlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from syncret.convert.terms import NoEquivalent
from syncret.convert.translate import translate

HERE = Path(__file__).parent
KEYS = ("host", "user", "pass-word", "secrets", "range", "v1", "Über", "empty", "for")
PLAIN = (
    "",
    "a",
    " x ",
    "\n",
    "{",
    "}",
    "{%",
    "%}",
    "{#",
    "#}",
    "}}",
    "-",
    "\r\n",
    "ü",
    '"',
    "'",
    "\\",
)
VALUES = (
    "",
    "a",
    "db.example.com",
    "a,b,c",
    ",",
    "  pad ",
    "line\nline\n",
    "ü€",
    "{{x}}",
    "{% x %}",
    '"',
    "\\",
    "\t",
    "YWJj",
    "0",
    "false",
    "\r\n",
)


class Templates:
    """Makes templates of what a seed says."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - test data
        self.variables: list[str] = []

    def data(self) -> dict[str, str]:
        keys = [key for key in KEYS if self.random.random() < 0.85]
        return {key: self.random.choice(VALUES) for key in keys}

    def template(self, depth: int = 0) -> str:
        outer = list(self.variables)
        text = ""
        for _ in range(self.random.randint(1, 4)):
            node = self.node(depth)
            text += " " * (text.endswith("{") and node.startswith("{")) + node
        self.variables = outer
        return text

    def action(self, text: str) -> str:
        left = self.random.choice(("{{", "{{ ", "{{- "))
        right = self.random.choice(("}}", " }}", " -}}"))
        return left + text + right

    def node(self, depth: int) -> str:
        kind = self.random.randint(0, 11 if depth < 3 else 7)
        if kind <= 2:
            return "".join(self.random.choice(PLAIN) for _ in range(3)).replace("{{", "{")
        if kind <= 6:
            return self.action(self.text(0))
        if kind == 7:
            name = f"$n{len(self.variables)}"
            made = self.action(f"{name} := {self.text(1)}")
            self.variables.append(name)
            return made
        otherwise = self.random.choice(("", self.action("else") + self.template(depth + 1)))
        if kind == 8:
            head = "if " + self.condition(0)
        elif kind == 9:
            head = "with " + self.text(1)
        elif kind == 10:
            head = self.random.choice(("range $k, $w := .", "range ."))
        else:
            parts = f'splitList "," {self.operand()}'
            head = self.random.choice((f"range $i, $w := {parts}", f"range {parts}"))
        inner = self.template(depth + 1)
        if "$w" in head:
            first = "$k" if "$k" in head else "$i"
            inner += self.action("$w") + self.action(first)
        elif kind in {9, 10, 11}:
            inner += self.action(". | upper | b64enc") if kind == 9 else self.action(".")
        return self.action(head) + inner + otherwise + self.action("end")

    def key(self) -> str:
        key = self.random.choice(KEYS)
        if "-" in key or self.random.random() < 0.1:
            return f'(index $ "{key}")'
        return f"$.{key}"

    def operand(self) -> str:
        kind = self.random.randint(0, 5)
        if kind == 0:
            return json.dumps(self.random.choice(VALUES), ensure_ascii=False)
        if kind == 1 and self.variables:
            return self.random.choice(self.variables)
        return self.key()

    def literal(self) -> str:
        return json.dumps(self.random.choice((",", "a", "x", "pad", " ", "$1", "db")))

    def text(self, depth: int) -> str:
        if depth > 2 or self.random.random() < 0.3:
            return self.operand()
        one = f"({self.text(depth + 1)})"
        word = self.literal()
        return self.random.choice(
            (
                f"{one} | b64enc",
                f"default {word} {one}",
                f"{one} | upper",
                f"trim {one}",
                f"trimSuffix {word} {one}",
                f"trimPrefix {word} {one}",
                f"trimAll {word} {one}",
                f"replace {word} {self.operand()} {one}",
                f"squote {one}",
                f"quote {one}",
                f'printf "%s-%%-%v" {one} {self.operand()}',
                f"print {one} {self.operand()}",
                f"indent 2 {one}",
                f"nindent 3 {one}",
                f"{one} | sha256sum",
                f"urlquery {one}",
                f"join {word} (splitList {word} {one})",
                f"first (splitList {word} {one})",
                f'ternary "y" "n" ({self.condition(depth + 1)})',
                f"repeat 2 {one}",
                f'coalesce {one} {self.operand()} "end"',
                f"{one} | b64dec",
                f"toString {one}",
                f"index (splitList {word} {one}) 1",
                f"or {one} {self.operand()}",
                f"and {one} {self.operand()}",
                f"len (splitList {word} {one})",
                f'regexReplaceAll "(a)(.)" {one} "${{2}}$1\\\\"',
                f'regexFind "[a-c]+" {one}',
                f"toJson {one}",
                f"trunc 3 {one}",
                f"list {one} | first",
                f"{one} | lower",
                f'regexReplaceAllLiteral "a" {one} "$1"',
            )
        )

    def condition(self, depth: int) -> str:
        if depth > 2:
            return self.operand()
        one, word = self.operand(), self.literal()
        return self.random.choice(
            (
                one,
                f"eq {one} {word}",
                f"ne {one} {self.operand()}",
                f"contains {word} {one}",
                f"hasPrefix {word} {one}",
                f"hasSuffix {word} {one}",
                f"empty {one}",
                f"not ({self.condition(depth + 1)})",
                f"lt {one} {word}",
                f"ge {one} {word}",
                f"and (eq {one} {word}) (ne {one} {self.operand()})",
                f'regexMatch "^a.*" {one}',
                f'eq {one} "a" {word}',
                f"gt (len (splitList {word} {one})) 1",
            )
        )


def main(arguments: list[str]) -> int:
    count = int(arguments[0]) if arguments else 2000
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    if shutil.which("go") is None:
        print("Skipped: there is no Go here to compare with.")
        return 0
    try:
        problem = importlib.import_module("syncret.template.problem")
        sandboxed = importlib.import_module("syncret.template.sandbox")
    except ImportError:
        print("Skipped: this version has no templates.")
        return 0
    templates = Templates(seed)
    asked: list[dict[str, Any]] = [
        {"template": templates.template(), "data": templates.data()} for _ in range(count)
    ]
    with tempfile.TemporaryDirectory() as directory:
        program = Path(directory, "gotemplates")
        subprocess.run(["go", "build", "-o", program, "."], cwd=HERE, check=True)
        found = subprocess.run(
            [program],
            input="\n".join(map(json.dumps, asked)),
            capture_output=True,
            text=True,
            check=True,
            encoding="utf-8",
        )
    answers = [json.loads(line) for line in found.stdout.split("\n") if line]
    assert len(answers) == len(asked)
    sandbox = sandboxed.Sandbox()
    counts = dict.fromkeys(("exact", "failing", "noted", "noted, other", "refused", "wrong"), 0)
    reasons: dict[str, int] = {}
    for question, answer in zip(asked, answers, strict=True):
        try:
            made = translate(question["template"])
        except NoEquivalent as error:
            counts["refused"] += 1
            if "that can be read" in str(error) and not answer["error"].startswith("parse"):
                counts["wrong"] += 1
                print("Go reads it:", json.dumps(question, ensure_ascii=False))
            reasons[str(error)] = reasons.get(str(error), 0) + 1
            continue
        data = question["data"]
        plain = {key: value for key, value in data.items() if key.isidentifier()}
        try:
            text = sandbox.render(made.text, {**plain, "secrets": problem.Keys(data)}, most=1 << 20)
            same = not answer["error"] and text == answer["text"]
        except sandboxed.RenderingFailed as error:
            text = f"failed: {error.text}"
            same = bool(answer["error"])
        if same:
            kind = "noted" if made.notes else "failing" if answer["error"] else "exact"
        else:
            kind = "noted, other" if made.notes else "wrong"
        counts[kind] += 1
        if kind == "wrong" and counts["wrong"] <= 5:
            print(
                json.dumps(
                    {**question, "jinja": made.text, "go": answer, "ours": text},
                    indent=1,
                    ensure_ascii=False,
                )
            )
    for reason, times in sorted(reasons.items(), key=lambda one: -one[1])[:12]:
        print(f"  {times} refused: {reason}")
    print(", ".join(f"{number} {kind}" for kind, number in counts.items()))
    return 1 if counts["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

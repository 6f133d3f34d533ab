"""From the tree of a Go template to Jinja, where the result is the same text.

What is looked at (the dot) is known at every place, as values have no types at run time here: a
field is looked up at once, and what a value is decides which operations are exact.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from syncret.convert import gotemplate as go
from syncret.convert.functions import apply
from syncret.convert.terms import NOT_TEXT, NoEquivalent, Notes, Term, quoted

#: Names that mean something else in Jinja, or that could be another's while a key is missing.
_TAKEN: Final = frozenset(
    {
        *("and", "or", "not", "if", "elif", "else", "is", "in", "for", "true", "false", "none"),
        *("True", "False", "None", "import", "from", "as", "with", "without", "recursive"),
        *("secrets", "loop", "self", "super", "caller", "varargs", "kwargs", "context", "range"),
        *("dict", "namespace", "cycler", "joiner", "set", "block", "extends", "include", "macro"),
        *("call", "filter", "raw", "do", "ignore", "missing", "scoped"),
    }
)

_ROOT: Final = Term("secrets", "keys")


@dataclass(frozen=True, slots=True)
class Translation:
    """Jinja, and what is to be said about it: it differs where a note says so."""

    text: str
    notes: tuple[str, ...] = ()


def translate(text: str, *, only: str = "") -> Translation:
    """The template in Jinja. Raises NoEquivalent with a reason that quotes nothing.

    ``only``: the one key that there is, where the template does not get a whole secret.
    """
    try:
        nodes = go.parse(text)
        translator = _Translator(only=only, fields=_fields(nodes))
        pieces = translator.nodes(nodes, _ROOT, {"": _ROOT})
    except go.CannotRead as error:
        raise NoEquivalent(f"it is no template that can be read: {error}") from None
    except RecursionError:
        raise NoEquivalent("it is nested too deeply") from None
    return Translation(_joined(pieces), tuple(translator.notes))


@dataclass(frozen=True, slots=True)
class _Code:
    """A piece of Jinja that is no text."""

    code: str


_Piece = str | _Code


_Scope = dict[str, Term]


@dataclass(slots=True)
class _Translator:
    only: str
    fields: frozenset[str]
    notes: Notes = field(default_factory=list)
    made: int = 0

    def nodes(self, nodes: tuple[go.Node, ...], dot: Term, scope: _Scope) -> list[_Piece]:
        found: list[_Piece] = []
        for node in nodes:
            match node:
                case go.Text(text):
                    found.append(text)
                case go.Comment(text):
                    if "#}" not in text and "\r" not in text:
                        found.append(_Code("{#" + f" {text.strip(' -+')} " + "#}"))
                case go.Output(pipeline):
                    found += self._output(pipeline, dot, scope)
                case go.Block():
                    found += self._block(node, dot, scope)
                case go.Refused(kind):
                    raise NoEquivalent(f"the statement {kind} has no equivalent")
        return found

    def _output(self, pipeline: go.Pipeline, dot: Term, scope: _Scope) -> list[_Piece]:
        term = self._term(pipeline.value, dot, scope)
        if pipeline.variables:
            if not pipeline.declares:
                raise NoEquivalent("a variable is set a second time, which loops would forget")
            name = self._new()
            scope[pipeline.variables[0]] = Term(name, term.kind)
            return [_Code("{% set " + f"{name} = {_now(term)} " + "%}")]
        if term.kind == "any":
            self._note(NOT_TEXT)
        elif term.kind not in {"text", "int", "bool"}:
            raise NoEquivalent("a list or a map is written as Go writes it")
        return [_Code("{{ " + _bare(term.code) + " }}")]

    def _block(self, block: go.Block, dot: Term, scope: _Scope) -> list[_Piece]:
        pipeline = block.pipeline
        value = self._term(pipeline.value, dot, scope)
        inner = dict(scope)
        if block.kind == "range":
            return self._range(block, value, dot, inner)
        if value.kind not in {"text", "int", "bool", "list"}:
            raise NoEquivalent(
                f"the condition of {block.kind} is of a kind that is not known before it runs"
            )
        found: list[_Piece] = []
        condition = value.code
        if pipeline.variables:
            name = self._new()
            inner[pipeline.variables[0]] = Term(name, value.kind)
            found.append(_Code("{% set " + f"{name} = {_now(value)} " + "%}"))
            condition = name
            value = Term(name, value.kind)
        found.append(_Code("{% if " + _bare(condition) + " %}"))
        found += self.nodes(block.body, value if block.kind == "with" else dot, dict(inner))
        if block.otherwise:
            found.append(_Code("{% else %}"))
            found += self.nodes(block.otherwise, dot, dict(inner))
        return [*found, _Code("{% endif %}")]

    def _range(self, block: go.Block, value: Term, dot: Term, scope: _Scope) -> list[_Piece]:
        names = block.pipeline.variables
        if names and not block.pipeline.declares:
            raise NoEquivalent("a range sets variables of outside")
        found: list[_Piece] = []
        item = self._new()
        outside = dict(scope)
        if value.kind == "keys":
            if self.only:
                raise NoEquivalent("it walks over all keys, and there is one value only")
            key = self._new()
            first = Term(key, "text")
            head = f"for {key}, {item} in secrets | dictsort(true)"
        elif value.kind == "list":
            key = self._new() if len(names) == 2 else ""
            first = Term(key, "int")
            head = f"for {item} in {value.code}"
        else:
            raise NoEquivalent("it walks over something whose kind is not known before it runs")
        found.append(_Code("{% " + head + " %}"))
        if value.kind == "list" and key:
            found.append(_Code("{% set " + f"{key} = loop.index0 " + "%}"))
        if len(names) == 2:
            scope[names[0]], scope[names[1]] = first, Term(item, "text")
        elif names:
            scope[names[0]] = Term(item, "text")
        found += self.nodes(block.body, Term(item, "text"), scope)
        if block.otherwise:
            found.append(_Code("{% else %}"))
            found += self.nodes(block.otherwise, dot, outside)
        return [*found, _Code("{% endfor %}")]

    def _term(self, expression: go.Expression, dot: Term, scope: _Scope) -> Term:
        match expression:
            case go.Literal(value):
                return _constant(value)
            case go.Dot():
                return dot
            case go.Variable(name):
                if name not in scope:
                    raise NoEquivalent("it uses a variable that was not set")
                return scope[name]
            case go.Fields(of, names):
                return self._fields_of(self._term(of, dot, scope), names)
            case go.Call("()", (inner,)):
                return self._term(inner, dot, scope)
            case go.Call(name, arguments):
                terms = [self._term(argument, dot, scope) for argument in arguments]
                if any(term.kind == "keys" for term in terms) and self.only:
                    raise NoEquivalent("it uses all keys, and there is one value only")
                return apply(name, terms, self.notes)
        raise NoEquivalent("it has an expression that is not known")

    def _fields_of(self, of: Term, names: tuple[str, ...]) -> Term:
        if of.kind == "keys":
            first, *rest = names
            if self.only and first != self.only:
                raise NoEquivalent(f"it uses a key other than {self.only}")
            plain = first.isascii() and first[0] != "_" and first not in _TAKEN
            of = Term(first if plain else f"secrets[{quoted(first)}]", "text")
            names = tuple(rest)
        if names and of.kind != "any":
            raise NoEquivalent("it takes a field of something that has none")
        code = of.code + "".join(f"[{quoted(name)}]" for name in names)
        return Term(code, of.kind)

    def _new(self) -> str:
        """A name that no key has that is used here."""
        while True:
            self.made += 1
            name = f"v{self.made}"
            if name not in self.fields:
                return name

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def _constant(value: str | int | bool | None) -> Term:
    if value is None:
        raise NoEquivalent("it uses nil")
    if isinstance(value, bool):
        return Term("true" if value else "false", "bool", value, is_constant=True)
    if isinstance(value, int):
        return Term(str(value) if value >= 0 else f"({value})", "int", value, is_constant=True)
    return Term(quoted(value), "text", value, is_constant=True)


def _now(term: Term) -> str:
    """What fails here if it is missing, and not where it is used."""
    return f'{term.code} ~ ""' if term.kind == "text" and not term.is_constant else term.code


def _bare(code: str) -> str:
    """Without the parentheses around all of it, if they are that."""
    if not (code.startswith("(") and code.endswith(")")) or '"' in code or "'" in code:
        return code
    depth = 0
    for at, sign in enumerate(code):
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if depth == 0 and at < len(code) - 1:
            return code
    return code[1:-1]


def _joined(pieces: list[_Piece]) -> str:
    """The template; text that would begin something in Jinja is written by an expression."""
    merged: list[_Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and merged and isinstance(merged[-1], str):
            merged[-1] += piece
        else:
            merged.append(piece)
    found = []
    for at, piece in enumerate(merged):
        if isinstance(piece, _Code):
            found.append(piece.code)
            continue
        before_code = at < len(merged) - 1
        begins = re.compile(r"\{(?=[{%#\r]" + (r"|\Z" if before_code else "") + r")|\r")
        found.append(begins.sub(lambda one: "{{ " + quoted(one[0]) + " }}", piece))
    return "".join(found)


def _fields(node: object) -> frozenset[str]:
    """The names of all fields that are used."""
    names: set[str] = set()
    left = [node]
    while left:
        one = left.pop()
        if isinstance(one, tuple):
            left += one
        elif isinstance(one, go.Fields):
            names |= set(one.names)
            left.append(one.of)
        elif isinstance(one, go.Call):
            left.append(one.arguments)
        elif isinstance(one, go.Output):
            left.append(one.pipeline.value)
        elif isinstance(one, go.Block):
            left += [one.pipeline.value, one.body, one.otherwise]
    return frozenset(names)

"""A reader of Go's text/template: from text to a tree, trim markers already applied.

It follows the grammar of text/template/parse. What it cannot read, Go cannot either, with few
exceptions (numbers other than decimal integers), which are refused as well.
"""

import re
from dataclasses import dataclass, field
from typing import Final

#: What a trim marker takes away, and no other white space.
_BLANK: Final = " \t\r\n"

_TOKENS: Final = re.compile(
    r"""
    (?P<blank>[ \t\r\n]+)
    |(?P<raw>`[^`]*`)
    |(?P<text>"(?:[^"\\\n]|\\.)*")
    |(?P<char>'(?:[^'\\\n]|\\.)+')
    |(?P<number>[+-]?[0-9][0-9A-Za-z_.]*)
    |(?P<variable>\$[\w]*)
    |(?P<field>\.[^\W\d]\w*)
    |(?P<word>[^\W\d]\w*)
    |(?P<declare>:=)
    |(?P<sign>[.|(),=])
    """,
    re.VERBOSE,
)

_ESCAPES: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}


class CannotRead(Exception):
    """The text is not a template that is understood; the message quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: text, an integer, a truth value, or nil."""

    value: str | int | bool | None


@dataclass(frozen=True, slots=True)
class Variable:
    """``$name``; ``$`` is the name "" and stands for what the template got."""

    name: str


@dataclass(frozen=True, slots=True)
class Dot:
    """``.``: what is looked at just now."""


@dataclass(frozen=True, slots=True)
class Fields:
    """``of.one.two``."""

    of: "Expression"
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments; a value that was piped in is the last of them."""

    name: str
    arguments: tuple["Expression", ...] = ()


Expression = Literal | Variable | Dot | Fields | Call


@dataclass(frozen=True, slots=True)
class Pipeline:
    """An expression, and the variables that get its value."""

    value: Expression
    variables: tuple[str, ...] = ()
    declares: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Text outside of actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Comment:
    """``{{/* text */}}``."""

    text: str


@dataclass(frozen=True, slots=True)
class Output:
    """``{{ pipeline }}``, which writes nothing where it sets variables."""

    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Block:
    """``if``, ``with`` or ``range``."""

    kind: str
    pipeline: Pipeline
    body: tuple["Node", ...]
    otherwise: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A statement that is read but has no equivalent."""

    kind: str


Node = Text | Comment | Output | Block | Refused


@dataclass(slots=True)
class _Action:
    """One ``{{ }}``: its tokens, each a kind and a text."""

    tokens: list[tuple[str, str]]
    at: int = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def next(self) -> tuple[str, str]:
        token = self.peek()
        self.at += 1
        return token

    def skip_blank(self) -> None:
        while self.peek()[0] == "blank":
            self.at += 1


def parse(text: str) -> tuple[Node, ...]:
    """The tree of a template. Raises CannotRead."""
    reader = _Reader(_pieces(text))
    nodes, ended = reader.nodes(inside=False)
    if ended:
        raise CannotRead("it has an end or else without a beginning")
    return tuple(nodes)


def _pieces(text: str) -> list[Text | Comment | _Action]:
    """Text and actions in turn; the trim markers are applied."""
    pieces: list[Text | Comment | _Action] = []
    at, trim = 0, False
    while True:
        start = text.find("{{", at)
        plain = text[at:] if start < 0 else text[at:start]
        if trim:
            plain = plain.lstrip(_BLANK)
        if start < 0:
            if plain:
                pieces.append(Text(plain))
            return pieces
        at = start + 2
        if text.startswith("-", at) and text[at + 1 : at + 2] in tuple(_BLANK):
            plain = plain.rstrip(_BLANK)
            at += 2
        if plain:
            pieces.append(Text(plain))
        piece, at, trim = _action(text, at)
        pieces.append(piece)


def _action(text: str, at: int) -> tuple[Comment | _Action, int, bool]:
    """An action, where it ends, and whether the text after it is trimmed."""
    # Only what a trim marker was followed by may stand before a comment.
    begin = at + len(text[at:]) - len(text[at:].lstrip(_BLANK))
    if text.startswith("/*", at) or (text.startswith("/*", begin) and text[at - 1] in _BLANK):
        end = text.find("*/", begin)
        if end < 0:
            raise CannotRead("a comment is not closed")
        after = re.compile(r"([ \t\r\n]-)?\}\}").match(text, end + 2)
        if after is None:
            raise CannotRead("a comment ends before its action does")
        return Comment(text[begin + 2 : end]), after.end(), bool(after[1])
    tokens: list[tuple[str, str]] = []
    while True:
        closing = re.compile(r"[ \t\r\n]+-\}\}").match(text, at)
        if closing:
            return _Action(tokens), closing.end(), True
        if text.startswith("}}", at):
            return _Action(tokens), at + 2, False
        token = _TOKENS.match(text, at)
        if token is None:
            raise CannotRead("an action is not closed, or has signs that mean nothing in Go")
        tokens.append((str(token.lastgroup), token[0]))
        at = token.end()


@dataclass(slots=True)
class _Reader:
    pieces: list[Text | Comment | _Action]
    at: int = 0
    nodes_read: list[Node] = field(default_factory=list)

    def nodes(self, *, inside: bool) -> tuple[list[Node], _Action | None]:
        """Nodes up to an ``end`` or ``else``, which is given too."""
        found: list[Node] = []
        while self.at < len(self.pieces):
            piece = self.pieces[self.at]
            self.at += 1
            if not isinstance(piece, _Action):
                found.append(piece)
                continue
            piece.skip_blank()
            kind, word = piece.peek()
            if kind != "word":
                word = ""
            if word in {"end", "else"}:
                return found, piece
            if word in {"if", "with", "range"}:
                piece.next()
                found.append(self._block(word, piece))
            elif word in {"define", "template", "block", "break", "continue"}:
                found.append(Refused(word))
                if word in {"define", "block"}:
                    self._skip()
            else:
                found.append(Output(_pipeline(piece)))
        if inside:
            raise CannotRead("a statement has no end")
        return found, None

    def _block(self, kind: str, action: _Action) -> Block:
        pipeline = _pipeline(action, ranges=kind == "range")
        body, ended = self.nodes(inside=True)
        otherwise: list[Node] = []
        if ended is not None and ended.next()[1] == "else":
            ended.skip_blank()
            word = ended.next()[1]
            if word in {"if", "with"}:
                # Its end is that of the block around it.
                return Block(kind, pipeline, tuple(body), (self._block(word, ended),))
            if word:
                raise CannotRead("an else is followed by something else")
            otherwise, ended = self.nodes(inside=True)
            if ended is not None and ended.next()[1] != "end":
                raise CannotRead("a statement has two else")
        return Block(kind, pipeline, tuple(body), tuple(otherwise))

    def _skip(self) -> None:
        _, ended = self.nodes(inside=True)
        if ended is not None and ended.next()[1] != "end":
            raise CannotRead("a definition has an else")


def _pipeline(action: _Action, *, ranges: bool = False) -> Pipeline:
    action.skip_blank()
    start = action.at
    names: list[str] = []
    sign = ""
    while action.peek()[0] == "variable":
        names.append(action.next()[1][1:])
        action.skip_blank()
        sign = action.next()[1]
        if sign != "," or not ranges:
            break
        action.skip_blank()
    if sign not in {":=", "="}:
        action.at, names = start, []
    value = _piped(action)
    action.skip_blank()
    if action.peek()[0] != "end":
        raise CannotRead("an action has more than one expression")
    return Pipeline(value, tuple(names), sign == ":=" and bool(names))


def _piped(action: _Action) -> Expression:
    value: Expression | None = None
    while True:
        value = _command(action, value)
        action.skip_blank()
        if action.peek()[1] != "|":
            return value
        action.next()


def _command(action: _Action, piped: Expression | None) -> Expression:
    operands: list[Expression] = []
    while True:
        action.skip_blank()
        kind, text = action.peek()
        if kind == "end" or text in {"|", ")"}:
            break
        operands.append(_operand(action))
        kind, text = action.peek()
        if kind not in {"blank", "end"} and text not in {"|", ")"}:
            raise CannotRead("operands are not parted by a blank")
    if not operands:
        raise CannotRead("an expression is missing")
    first, rest = operands[0], operands[1:]
    if isinstance(first, Call) and not first.arguments and first.name and first.name != "()":
        return Call(first.name, (*rest, *(() if piped is None else (piped,))))
    if rest or piped is not None:
        raise CannotRead("something that is no function gets arguments")
    return first


def _operand(action: _Action) -> Expression:  # noqa: C901, PLR0912 - a case for each token
    kind, text = action.next()
    found: Expression
    if kind in {"raw", "text", "char", "number"}:
        return Literal(_constant(kind, text))
    if kind == "variable":
        found = Variable(text[1:])
    elif kind == "field":
        found = Fields(Dot(), (text[1:],))
    elif text == ".":
        found = Dot()
    elif text == "(":
        found = _piped(action)
        action.skip_blank()
        if action.next()[1] != ")":
            raise CannotRead("a parenthesis is not closed")
        if isinstance(found, Call) and not found.arguments:
            found = Call("()", (found,))
    elif kind == "word":
        if text in {"true", "false", "nil"}:
            return Literal({"true": True, "false": False, "nil": None}[text])
        return Call(text)
    else:
        raise CannotRead("an expression begins with a sign that means nothing there")
    names: list[str] = []
    while action.peek()[0] == "field":
        names.append(action.next()[1][1:])
    if not names:
        return found
    if isinstance(found, Fields):
        return Fields(found.of, (*found.names, *names))
    return Fields(found, tuple(names))


def _constant(kind: str, text: str) -> str | int:
    if kind == "raw":
        if "\r" in text:
            raise CannotRead("a raw string has carriage returns")
        return text[1:-1]
    if kind == "number":
        if not re.fullmatch(r"[+-]?(0|[1-9][0-9]*)", text):
            raise CannotRead("a number is no decimal integer")
        return int(text)
    found = re.sub(
        r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", _unescaped, text[1:-1]
    )
    if kind == "char":
        if len(found) != 1:
            raise CannotRead("a character constant has not one character")
        return ord(found)
    return found


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if escape in _ESCAPES:
        return _ESCAPES[escape]
    if len(escape) == 1:
        raise CannotRead("a string has an escape that Go does not know")
    code = int(escape, 8) if escape.isdecimal() else int(escape[1:], 16)
    if escape[0] in "uU":
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            raise CannotRead("a string has an escape that is no character")
    elif code > 127:
        raise CannotRead("a string has single bytes outside of ASCII")
    return chr(code)

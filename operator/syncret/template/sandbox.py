"""The sandbox: what a template may say, and its rendering.

Three walls, one behind the other. What stands in the template is checked before it runs: unknown
filters, statements that load others, names of internals. While it runs, attributes and methods are
those of a list, by the type they belong to, and results are bounded. And all of it runs in a
process that has nothing, may do nothing and is killed when it takes too long
(:mod:`syncret.template.child`).
"""

import difflib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NoReturn

from jinja2 import Template, Undefined, nodes
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.runtime import LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Cycler, Joiner, Namespace

from syncret.template.filters import FILTERS, TESTS
from syncret.template.filters.values import MAX_TEXT, text_of
from syncret.template.problem import Keys, Missing, MissingKey, Problem

_FILENAME: Final = "<template>"

#: Templates whose compiled form is kept. It holds no value.
_KEPT: Final = 128
#: Characters of a template that is kept.
_KEPT_LENGTH: Final = 16 * 1024

#: Bits of a power's result.
_MOST_BITS: Final = 4096

#: What an attribute may be, by the type of what it belongs to. Keys of dictionaries are none.
_ATTRIBUTES: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset(
        {
            *("capitalize", "casefold", "center", "count", "endswith", "expandtabs", "find"),
            *("format", "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit"),
            *("isidentifier", "islower", "isnumeric", "isprintable", "isspace", "istitle"),
            *("isupper", "join", "ljust", "lower", "lstrip", "partition", "removeprefix"),
            *("removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit"),
            *("rstrip", "split", "splitlines", "startswith", "strip", "swapcase", "title"),
            *("upper", "zfill"),
        }
    ),
    dict: frozenset(["copy", "get", "items", "keys", "values"]),
    Keys: frozenset(["copy", "get", "items", "keys", "values"]),
    list: frozenset(["copy", "count", "index"]),
    tuple: frozenset(["count", "index", "grouper", "list"]),
    int: frozenset(["bit_length"]),
    LoopContext: frozenset(
        {
            *("cycle", "changed", "depth", "depth0", "first", "index", "index0", "last"),
            *("length", "nextitem", "previtem", "revindex", "revindex0"),
        }
    ),
    Cycler: frozenset(["current", "next", "reset"]),
    Macro: frozenset(["name"]),
}

#: What may be called though it is a class.
_CLASSES: Final = frozenset({range, dict, Namespace, Cycler, Joiner})

_REFUSED: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}

_SAID: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (SecurityError, "uses an attribute or a function that templates may not use"),
    (RecursionError, "is nested, or calls itself, too deeply"),
    (ZeroDivisionError, "divides by zero"),
    (OverflowError, "has a number or a range that is too large"),
    (UnicodeError, "has text that is not Unicode"),
    (LookupError, "asks for a place in a list, or a field, that is not there"),
    (AttributeError, "uses an attribute that templates may not use"),
    (TypeError, "has values of kinds that do not go together, or arguments that do not fit"),
    (ValueError, "has a value, or an argument, that does not fit"),
    (AssertionError, "has an argument that does not fit"),
)


class RenderingFailed(Exception):
    """A template, or what it got, is at fault; ``line`` is 0 where it is not known."""

    def __init__(self, text: str, line: int = 0) -> None:
        super().__init__()
        self.text = text
        self.line = line


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with our filters, and strict."""

    def __init__(self) -> None:
        super().__init__(
            autoescape=False,
            undefined=Missing,
            finalize=_finalize,
            keep_trailing_newline=True,
            cache_size=0,
        )
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)
        self.globals = {
            name: self.globals[name] for name in ("range", "dict", "namespace", "cycler", "joiner")
        }
        #: What salts are made from; of one rendering.
        self.seed = b""
        self._compiled: OrderedDict[str, Template] = OrderedDict()

    intercepted_binops = frozenset(["*", "**"])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002 - the signature is Jinja's
        if operator == "**":
            if not all(isinstance(one, int | float) for one in (left, right)):
                raise TypeError
            if isinstance(left, int) and left.bit_length() * abs(right) > _MOST_BITS:
                raise OverflowError
            return left**right
        for one, times in ((left, right), (right, left)):
            repeated = isinstance(one, str | list | tuple) and isinstance(times, int)
            if repeated and len(one) * times > MAX_TEXT:
                raise OverflowError
        return left * right

    def handle_exception(self, source: str | None = None) -> NoReturn:  # noqa: ARG002 - Jinja's own
        """Jinja makes another traceback here, which nobody sees."""
        raise  # noqa: PLE0704 - it is called where an exception is handled

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if attr.startswith("_"):
            return False
        if isinstance(obj, Namespace):
            return True
        allowed = _ATTRIBUTES.get(type(obj))
        if allowed is None and isinstance(obj, tuple):
            allowed = _ATTRIBUTES[tuple]
        return bool(allowed and attr in allowed and super().is_safe_attribute(obj, attr, value))

    def is_safe_callable(self, obj: Any) -> bool:
        return not isinstance(obj, type) or obj in _CLASSES

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of a dictionary wins over a method that may not be used."""
        if isinstance(obj, dict) and attribute not in _ATTRIBUTES[dict]:
            if attribute in obj:
                return obj[attribute]
            return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def template(self, text: str) -> Template:
        """The compiled template. Raises RenderingFailed."""
        known = self._compiled.get(text)
        if known is not None:
            self._compiled.move_to_end(text)
            return known
        compiled = self._compile_checked(text)
        if len(text) <= _KEPT_LENGTH:
            self._compiled[text] = compiled
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return compiled

    def _compile_checked(self, text: str) -> Template:
        try:
            tree = self.parse(text)
            _check(tree)
            code = self.compile(tree, filename=_FILENAME)
        except TemplateSyntaxError as error:
            raise RenderingFailed(
                f"has a syntax error ({_shortened(error.message)})", error.lineno
            ) from None
        except (RecursionError, SyntaxError, OverflowError):
            raise RenderingFailed("is nested too deeply to be read") from None
        except (TemplateError, ValueError, TypeError):
            raise RenderingFailed("cannot be read as a template") from None
        return Template.from_code(self, code, self.globals)

    def render(self, text: str, variables: Mapping[str, Any], *, most: int) -> str:
        """The text that the template gives, of at most so many characters.

        Raises RenderingFailed or MissingKey with a line, or MemoryError.
        """
        template = self.template(text)
        pieces: list[str] = []
        size = 0
        try:
            for piece in template.root_render_func(template.new_context(dict(variables))):
                size += len(piece)
                if size > most:
                    raise Problem("gives a text that is too long for a Secret")  # noqa: TRY301 - as a filter would
                pieces.append(piece)
            found = "".join(pieces)
            found.encode("utf-8", "surrogateescape")
        except MissingKey as error:
            raise RenderingFailed(
                _missing(error, text, variables), _line(template, error)
            ) from None
        except Problem as error:
            raise RenderingFailed(error.text, _line(template, error)) from None
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a template provokes is its own fault
            raise RenderingFailed(_said(error), _line(template, error)) from None
        return found


def _finalize(value: Any) -> Any:
    return value if isinstance(value, Undefined) else text_of(value)


def _check(tree: nodes.Template) -> None:
    """Raises RenderingFailed for what can be seen without running it."""
    for node in _walked(tree):
        for kind, name in _REFUSED.items():
            if isinstance(node, kind):
                raise RenderingFailed(f"uses {name}, which is not available", node.lineno)
        if isinstance(node, nodes.Filter) and node.name not in FILTERS:
            raise RenderingFailed(_unknown("filter", node.name, FILTERS), node.lineno)
        if isinstance(node, nodes.Test) and node.name not in TESTS:
            raise RenderingFailed(_unknown("test", node.name, TESTS), node.lineno)
        attribute: Any = node.attr if isinstance(node, nodes.Getattr) else None
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            attribute = node.arg.value
        if isinstance(attribute, str) and attribute.startswith("__"):
            raise RenderingFailed(
                f'uses the attribute "{_shortened(attribute)}", which is not available', node.lineno
            )


def _walked(tree: nodes.Node) -> Iterator[nodes.Node]:
    """Every node; without recursion, which a template could make too deep."""
    left = [tree]
    while left:
        node = left.pop()
        yield node
        left += node.iter_child_nodes()


def _unknown(kind: str, name: str, known: Mapping[str, Callable[..., Any]]) -> str:
    near = difflib.get_close_matches(name[:40], known, n=1)
    hint = f' (is "{near[0]}" meant?)' if near else ""
    return f'uses the {kind} "{_shortened(name)}", which is not available{hint}'


def _missing(error: MissingKey, text: str, variables: Mapping[str, Any]) -> str:
    name = error.name
    if not isinstance(name, str) or not _stands_in(name, text):
        # It may have been taken from a value.
        return "asks for a field or a place in a list that is not there"
    if not error.among_keys:
        return f'asks for the field "{_shortened(name)}", which is not there'
    known = variables.get("secrets", {})
    near = difflib.get_close_matches(name[:80], known, n=1)
    if any(key.startswith((f"{name}-", f"{name}.")) for key in known):
        hint = ' (a key with "-" or "." is written as secrets["the-key"])'
    elif near:
        hint = f' (is "{_shortened(near[0])}" meant?)'
    else:
        hint = ""
    return f'uses the key "{_shortened(name)}", which is not there{hint}'


def _stands_in(name: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) is not None


def _shortened(text: str | None) -> str:
    said = (text or "").encode("utf-8", "replace").decode()
    return said if len(said) <= 120 else f"{said[:120]}…"


def _said(error: BaseException) -> str:
    for kind, said in _SAID:
        if isinstance(error, kind):
            return said
    return f"failed ({type(error).__name__})"


def _line(template: Template, error: BaseException) -> int:
    """The line of the template that the error came from."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILENAME:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line

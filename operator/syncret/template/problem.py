"""What is wrong with a template or with what it got. Known to the child process only."""

from typing import Any

from jinja2 import Undefined


class Problem(Exception):
    """A sentence of ours without a full stop, which never quotes a value."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class MissingKey(Exception):
    """What a template names is not there. ``among_keys``: it was looked for among the keys."""

    def __init__(self, name: Any, *, among_keys: bool) -> None:
        super().__init__()
        self.name = name
        self.among_keys = among_keys


class Missing(Undefined):
    """Undefined that refuses every use but ``default`` and ``is defined``.

    Unlike Jinja's own, its exception carries the name instead of a text with it: a name may have
    been taken from a value.
    """

    __slots__ = ()

    def _fail_with_undefined_error(self, *_: Any, **__: Any) -> Any:
        raise self._error()

    def _error(self) -> Exception:
        if self._undefined_hint:  # the sandbox refuses an attribute
            return Problem("uses an attribute that templates may not use")
        top = self._undefined_obj is _NOTHING or isinstance(self._undefined_obj, Keys)
        return MissingKey(self._undefined_name, among_keys=top)

    __iter__ = __str__ = __len__ = _fail_with_undefined_error
    __eq__ = __ne__ = __bool__ = __hash__ = __contains__ = _fail_with_undefined_error
    __add__ = __radd__ = __sub__ = __rsub__ = _fail_with_undefined_error
    __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _fail_with_undefined_error
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _fail_with_undefined_error
    __pos__ = __neg__ = __call__ = __getitem__ = _fail_with_undefined_error
    __lt__ = __le__ = __gt__ = __ge__ = _fail_with_undefined_error
    __int__ = __float__ = __complex__ = __pow__ = __rpow__ = _fail_with_undefined_error

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        raise self._error()


_NOTHING = Missing()._undefined_obj  # noqa: SLF001 - Jinja's marker for "no object"


class Keys(dict[str, str]):
    """All that was read, as the variable ``secrets``."""

"""The generator ``password``: random passwords.

The fields are those of External Secrets Operator, and so are their defaults. All randomness is the
operating system's, by :mod:`secrets`.
"""

import base64
import re
import secrets
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from syncret.errors import SpecInvalid
from syncret.generators.local import LocalGenerator, secret_keys
from syncret.providers.fields import Fields

PATH: Final = "spec.generator.password"

DEFAULT_LENGTH: Final = 24
MAX_LENGTH: Final = 1024

#: What is neither a letter nor a digit, but for what often has to be escaped.
SYMBOLS: Final = '~!@#$%^&*()_+`-={}|[]\\:"<>?,./'

_SYMBOLS: Final = re.compile(r"[!-/:-@\[-`{-~]+")

_ENCODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "raw": lambda data: data,
    "base64": base64.b64encode,
    "base64url": base64.urlsafe_b64encode,
    "base32": base64.b32encode,
    "hex": lambda data: data.hex().encode(),
}


@dataclass(frozen=True, slots=True)
class PasswordConfig:
    """How many characters of each sort, and from which; ``secret_keys``: each gets its own."""

    letters: int
    digits: int
    symbols: int
    letter_characters: str
    symbol_characters: str
    allow_repeat: bool
    encoding: str
    secret_keys: tuple[str, ...]


class PasswordGenerator(LocalGenerator):
    """Makes passwords."""

    name = "password"

    def parse(self, spec: Mapping[str, Any], *, cluster_scoped: bool) -> PasswordConfig:  # noqa: ARG002
        fields = Fields(spec, PATH)
        length = fields.integer("length", at_least=1, at_most=MAX_LENGTH, default=DEFAULT_LENGTH)
        counts = {
            name: fields.integer(name, at_least=0, at_most=MAX_LENGTH, default=length // 4)
            for name in ("digits", "symbols")
        }
        symbols = fields.optional(
            "symbolCharacters",
            pattern=_SYMBOLS,
            limit=64,
            form="printable characters of ASCII that are neither letters nor digits nor blanks",
            default=SYMBOLS,
        )
        upper = not fields.flag("noUpper")
        config = PasswordConfig(
            letters=length - counts["digits"] - counts["symbols"],
            digits=counts["digits"],
            symbols=counts["symbols"],
            letter_characters=string.ascii_letters if upper else string.ascii_lowercase,
            symbol_characters="".join(dict.fromkeys(symbols)),
            allow_repeat=fields.flag("allowRepeat"),
            encoding=fields.choice("encoding", tuple(_ENCODINGS), default="raw"),
            secret_keys=secret_keys(fields, default="password"),
        )
        fields.done()
        _refuse_impossible(config)
        return config

    def values(self, config: PasswordConfig) -> Mapping[str, bytes]:
        return {key: _password(config) for key in config.secret_keys}


def _refuse_impossible(config: PasswordConfig) -> None:
    """Raises SpecInvalid for what no password can be like."""
    if config.letters < 0:
        raise SpecInvalid(
            f"{PATH}: digits and symbols are a part of the length: make the password longer, or "
            "ask for fewer of them."
        )
    if not config.allow_repeat and any(
        wanted > len(characters) for wanted, characters in _parts(config)
    ):
        raise SpecInvalid(
            f"{PATH}: there are not enough characters for a password of that length without "
            "repetition: set allowRepeat to true, or choose a shorter one."
        )


def _parts(config: PasswordConfig) -> tuple[tuple[int, str], ...]:
    return (
        (config.letters, config.letter_characters),
        (config.digits, string.digits),
        (config.symbols, config.symbol_characters),
    )


def _password(config: PasswordConfig) -> bytes:
    random = secrets.SystemRandom()
    chosen: list[str] = []
    for count, characters in _parts(config):
        if config.allow_repeat:
            chosen += [secrets.choice(characters) for _ in range(count)]
        else:
            chosen += random.sample(characters, count)
    random.shuffle(chosen)
    return _ENCODINGS[config.encoding]("".join(chosen).encode())

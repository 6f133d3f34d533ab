"""Which functions of Go templates, Sprig and ESO have an equivalent, and which one.

An entry gives the Jinja expression for its arguments, or raises NoEquivalent. Where the
two differ for some input, the entry adds a note that says for which.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

from syncret.convert.terms import NOT_TEXT, Kind, Maker, NoEquivalent, Notes, Term, quoted

_ASCII: Final = "{} may give another result for letters outside of ASCII"
_UNKNOWN: Final = "it has no equivalent in Syncret's templates"
_BYTES: Final = "{} counts characters here and bytes in Go, which is the same for ASCII"
_SALT: Final = "{} gives the same hash for the same input here; Go makes another one each time"
_CERTIFICATES: Final = "{} is compared by meaning: the bytes of the result may differ"


def apply(name: str, arguments: Sequence[Term], notes: Notes) -> Term:
    """The term for a call. Raises NoEquivalent."""
    maker = FUNCTIONS.get(name)
    if maker is None:
        raise NoEquivalent(f"the function {name}: {_REASONS.get(name, _UNKNOWN)}")
    try:
        return maker(arguments, notes)
    except NoEquivalent as error:
        raise NoEquivalent(f"the function {name}: {error}") from None


def _refuse(why: str) -> NoReturn:
    raise NoEquivalent(why)


def _texts(arguments: Sequence[Term], count: int, notes: Notes) -> Sequence[Term]:
    """So many arguments, all of them text."""
    if len(arguments) != count:
        _refuse(f"it is called with {len(arguments)} arguments")
    for argument in arguments:
        if argument.kind == "any":
            _note(notes, NOT_TEXT)
        elif argument.kind != "text":
            _refuse("an argument is not text")
    return arguments


def _note(notes: Notes, note: str) -> None:
    if note not in notes:
        notes.append(note)


def _form(form: str, count: int, kind: Kind = "text", *, note: str = "") -> Maker:
    """``{0}`` and so on are the arguments."""

    def make(arguments: Sequence[Term], notes: Notes) -> Term:
        terms = _texts(arguments, count, notes)
        if note:
            _note(notes, note)
        return Term(form.format(*(term.code for term in terms)), kind)

    return make


def _first_of(terms: Sequence[Term]) -> str:
    """The first that is not empty. All of them are looked at, so that a missing key is an error."""
    code = " or ".join(term.code for term in terms)
    if all(term.is_constant for term in terms[1:]):
        return f"({code})"
    return f"(({' ~ '.join(term.code for term in terms)}) and ({code}))"


def _default(arguments: Sequence[Term], notes: Notes) -> Term:
    fallback, value = _texts(arguments, 2, notes)
    if "any" in {fallback.kind, value.kind}:
        _refuse("the value may be something other than text, which Go calls empty in other cases")
    return Term(_first_of([value, fallback]), "text")


def _coalesce(arguments: Sequence[Term], notes: Notes) -> Term:
    terms = _texts(arguments, len(arguments), notes)
    if not terms or any(term.kind != "text" for term in terms):
        _refuse("the values may be something other than text")
    if not (terms[-1].is_constant and terms[-1].constant):
        _refuse("where all are empty, Go writes <no value>")
    return Term(_first_of(terms), "text")


def _ternary(arguments: Sequence[Term], _: Notes) -> Term:
    if len(arguments) != 3 or arguments[2].kind != "bool":
        _refuse("its condition is not a comparison")
    yes, no, condition = arguments
    if not (yes.is_constant and no.is_constant) or yes.kind != no.kind:
        _refuse("its two values are not constants of one kind; write if and else instead")
    return Term(f"({yes.code} if {condition.code} else {no.code})", yes.kind)


def _comparison(sign: str) -> Maker:
    def make(arguments: Sequence[Term], _: Notes) -> Term:
        many = sign == "=="
        if len(arguments) < 2 or (len(arguments) > 2 and not many):
            _refuse(f"it is called with {len(arguments)} arguments")
        kinds = {argument.kind for argument in arguments}
        if len(kinds) != 1 or not kinds <= {"text", "int", "bool"}:
            _refuse("it compares values whose kinds are not known, or not the same")
        first, *others = (argument.code for argument in arguments)
        if len(others) == 1:
            return Term(f"({first} {sign} {others[0]})", "bool")
        return Term(f"({first} in [{', '.join(others)}])", "bool")

    return make


def _logical(word: str) -> Maker:
    def make(arguments: Sequence[Term], _: Notes) -> Term:
        kinds = {argument.kind for argument in arguments}
        if len(kinds) != 1 or not kinds <= {"text", "int", "bool", "list"}:
            _refuse("the kinds of its arguments are not known, or not the same")
        code = f" {word} ".join(argument.code for argument in arguments)
        return Term(f"({code})", arguments[0].kind)

    return make


def _not(arguments: Sequence[Term], _: Notes) -> Term:
    if len(arguments) != 1 or arguments[0].kind not in {"text", "int", "bool", "list"}:
        _refuse("the kind of its argument is not known")
    return Term(f"(not {arguments[0].code})", "bool")


def _len(arguments: Sequence[Term], notes: Notes) -> Term:
    if len(arguments) != 1 or arguments[0].kind not in {"text", "list"}:
        _refuse("the kind of its argument is not known")
    if arguments[0].kind == "text":
        _note(notes, _BYTES.format("len"))
    return Term(f"({arguments[0].code} | length)", "int")


def _printf(arguments: Sequence[Term], notes: Notes) -> Term:  # noqa: C901 - one after the other
    if not arguments or not isinstance(arguments[0].constant, str):
        _refuse("its format is not a constant")
    form, values = str(arguments[0].constant), list(arguments[1:])
    pieces: list[str] = []
    at = 0
    for verb in re.finditer(r"%(.?)", form, re.DOTALL):
        if verb.start() < at:
            continue
        plain = form[at : verb.start()]
        at = verb.end()
        if verb[1] == "%":
            plain += "%"
        if plain:
            pieces.append(quoted(plain))
        if verb[1] == "%":
            continue
        if not values:
            _refuse("it has fewer values than its format has places")
        value = values.pop(0)
        if verb[1] not in {"s", "v", "d"}:
            _refuse("its format has something other than %s, %v, %d and %%")
        if value.kind == "any" and verb[1] == "v":
            _note(notes, NOT_TEXT)
        elif value.kind != ("int" if verb[1] == "d" else "text"):
            _refuse("a value is of another kind than its place in the format")
        pieces.append(value.code)
    if values:
        _refuse("it has more values than its format has places")
    if form[at:]:
        pieces.append(quoted(form[at:]))
    return _concatenated(pieces)


def _concatenated(pieces: Sequence[str]) -> Term:
    """The empty text makes a text of what may be something else."""
    return Term("(" + " ~ ".join([*pieces, '""'][: max(2, len(pieces))]) + ")", "text")


def _print(arguments: Sequence[Term], notes: Notes) -> Term:
    terms = _texts(arguments, len(arguments), notes)
    if not terms or any(term.kind != "text" for term in terms):
        _refuse("its values are not all text")
    return _concatenated([term.code for term in terms])


def _index(arguments: Sequence[Term], notes: Notes) -> Term:
    if len(arguments) < 2:
        _refuse("it is called without a key")
    of, *keys = arguments
    if of.kind == "keys":
        if len(keys) != 1 or keys[0].kind != "text":
            _refuse("its key is not text")
        # Unlike a field, index gives "" for a key that is not there.
        return Term(f'secrets.get({keys[0].code}, "")', "text")
    if of.kind == "list" and len(keys) == 1 and keys[0].kind == "int":
        if not keys[0].is_constant or int(keys[0].constant or 0) < 0:
            _refuse("its position is not a constant")
        return Term(f"{of.code}[{keys[0].code}]", "text")
    if of.kind == "any" and all(key.kind == "text" for key in keys):
        _note(notes, "index of a field that is not there is an error here; Go gives <no value>")
        return Term(of.code + "".join(f"[{key.code}]" for key in keys), "any")
    _refuse("what it looks into is not known")


def _parted(arguments: Sequence[Term], notes: Notes) -> Term:
    separator, value = _texts(arguments, 2, notes)
    if not separator.constant:
        _refuse("its separator is not a constant, or is empty")
    return Term(f"{value.code}.split({separator.code})", "list")


def _join(arguments: Sequence[Term], notes: Notes) -> Term:
    if len(arguments) != 2 or arguments[1].kind != "list":
        _refuse("its argument is not known to be a list of texts")
    _texts(arguments[:1], 1, notes)
    return Term(f"({arguments[1].code} | join({arguments[0].code}))", "text")


def _at(position: str) -> Maker:
    def make(arguments: Sequence[Term], _: Notes) -> Term:
        if len(arguments) != 1 or arguments[0].kind != "list":
            _refuse("its argument is not known to be a list of texts")
        return Term(f"({arguments[0].code} | {position})", "text")

    return make


def _list(arguments: Sequence[Term], notes: Notes) -> Term:
    terms = _texts(arguments, len(arguments), notes)
    if not terms or any(term.kind != "text" for term in terms):
        _refuse("its values are not all text")
    return Term(f"[{', '.join(term.code for term in terms)}]", "list")


def _count(arguments: Sequence[Term]) -> int:
    if len(arguments) != 2 or arguments[0].kind != "int" or not arguments[0].is_constant:
        _refuse("its number is not a constant")
    count = int(arguments[0].constant or 0)
    if not 0 <= count <= 200:
        _refuse("its number is not between 0 and 200")
    return count


def _indent(start: str) -> Maker:
    def make(arguments: Sequence[Term], notes: Notes) -> Term:
        space = " " * _count(arguments)
        (value,) = _texts(arguments[1:], 1, notes)
        first, each = quoted(start + space), quoted("\n" + space)
        return Term(f'({first} ~ ({value.code} ~ "").replace("\\n", {each}))', "text")

    return make


def _trunc(arguments: Sequence[Term], notes: Notes) -> Term:
    count = _count(arguments)
    (value,) = _texts(arguments[1:], 1, notes)
    _note(notes, _BYTES.format("trunc"))
    return Term(f"{value.code}[:{count}]", "text")


def _repeat(arguments: Sequence[Term], notes: Notes) -> Term:
    count = _count(arguments)
    (value,) = _texts(arguments[1:], 1, notes)
    return Term(f"({value.code} * {count})", "text")


def _replace_all(*, literal: bool) -> Maker:
    def make(arguments: Sequence[Term], notes: Notes) -> Term:
        pattern, value, replacement = _texts(arguments, 3, notes)
        said = replacement.constant
        if not isinstance(said, str) or not isinstance(pattern.constant, str):
            _refuse("its pattern or its replacement is not a constant")
        parts = [said] if literal else re.split(r"\$(?:\{(\w+)\}|(\w+)|(\$))", said)
        if literal:
            found = said.replace("\\", "\\\\")
        else:
            found = ""
            for at in range(0, len(parts), 4):
                plain, braced, bare, dollar = [*parts[at : at + 4], None, None, None][:4]
                if "$" in (plain or ""):
                    _refuse("its replacement has a $ that names no group")
                found += (plain or "").replace("\\", "\\\\")
                name = braced or bare
                found += f"\\g<{name}>" if name else "$" * bool(dollar)
        _note(notes, "regexReplaceAll of a pattern that matches the empty text may differ")
        return Term(f"({value.code} | regex_replace({pattern.code}, {quoted(found)}))", "text")

    return make


def _to_json(arguments: Sequence[Term], notes: Notes) -> Term:
    if len(arguments) != 1:
        _refuse(f"it is called with {len(arguments)} arguments")
    _note(notes, "JSON has the same meaning, but blanks, escapes and numbers are written otherwise")
    value = arguments[0]
    return Term(f"({value.code} | to_json(sort_keys=true))", "text")


def _from(name: str) -> Maker:
    def make(arguments: Sequence[Term], notes: Notes) -> Term:
        (value,) = _texts(arguments, 1, notes)
        _note(notes, f"{name} of what cannot be read is an error here; Go goes on without a value")
        return Term(f"({value.code} | {name})", "any")

    return make


def _to_string(arguments: Sequence[Term], notes: Notes) -> Term:
    (value,) = _texts(arguments, 1, notes)
    return Term(f'({value.code} ~ "")', "text") if value.kind == "any" else value


FUNCTIONS: Final[Mapping[str, Maker]] = {
    # text/template itself
    "and": _logical("and"),
    "eq": _comparison("=="),
    "ge": _comparison(">="),
    "gt": _comparison(">"),
    "index": _index,
    "le": _comparison("<="),
    "len": _len,
    "lt": _comparison("<"),
    "ne": _comparison("!="),
    "not": _not,
    "or": _logical("or"),
    "print": _print,
    "printf": _printf,
    "urlquery": _form('({0} | urlencode).replace("%20", "+")', 1),
    # Sprig
    "b64dec": _form(
        "({0} | b64decode)",
        1,
        note="b64dec of what is not Base64 is an error here; Go puts the text of an error there",
    ),
    "b64enc": _form("({0} | b64encode)", 1),
    "bcrypt": _form("({0} | bcrypt)", 1, note=_SALT.format("bcrypt")),
    "coalesce": _coalesce,
    "contains": _form("({0} in {1})", 2, "bool"),
    "default": _default,
    "empty": _form('({0} == "")', 1, "bool"),
    "first": _at("first"),
    "fromJson": _from("from_json"),
    "hasPrefix": _form("{1}.startswith({0})", 2, "bool"),
    "hasSuffix": _form("{1}.endswith({0})", 2, "bool"),
    "indent": _indent(""),
    "join": _join,
    "last": _at("last"),
    "list": _list,
    "lower": _form("{0}.lower()", 1, note=_ASCII.format("lower")),
    "nindent": _indent("\n"),
    "quote": _form(
        "({0} | to_json)", 1, note="quote writes control characters as JSON does, and Go otherwise"
    ),
    "regexFind": _form("({1} | regex_search({0}))", 2),
    "regexMatch": _form("({1} is search({0}))", 2, "bool"),
    "regexReplaceAll": _replace_all(literal=False),
    "regexReplaceAllLiteral": _replace_all(literal=True),
    "repeat": _repeat,
    "replace": _form("{2}.replace({0}, {1})", 3),
    "sha1sum": _form("({0} | sha1)", 1),
    "sha256sum": _form("({0} | sha256)", 1),
    "sha512sum": _form("({0} | sha512)", 1),
    "splitList": _parted,
    "squote": _form('("\'" ~ {0} ~ "\'")', 1),
    "ternary": _ternary,
    "toJson": _to_json,
    "toRawJson": _to_json,
    "toString": _to_string,
    "trim": _form("{0}.strip()", 1, note="trim takes the characters U+001C to U+001F as well here"),
    "trimAll": _form("{1}.strip({0})", 2),
    "trimPrefix": _form("{1}.removeprefix({0})", 2),
    "trimSuffix": _form("{1}.removesuffix({0})", 2),
    "trunc": _trunc,
    "upper": _form("{0}.upper()", 1, note=_ASCII.format("upper")),
    # ESO
    "certSANs": _form("({0} | cert_sans)", 1, "list", note=_CERTIFICATES.format("certSANs")),
    "filterPEM": _form("({1} | pem_filter({0}))", 2, note=_CERTIFICATES.format("filterPEM")),
    "fromYaml": _from("from_yaml"),
    "hexdec": _form("({0} | hex_decode)", 1),
    "htpasswd": _form("({1} | htpasswd({0}))", 2, note=_SALT.format("htpasswd")),
    "jwkPrivateKeyPem": _form(
        "({0} | jwk_private_pem)", 1, note=_CERTIFICATES.format("jwkPrivateKeyPem")
    ),
    "jwkPublicKeyPem": _form(
        "({0} | jwk_public_pem)", 1, note=_CERTIFICATES.format("jwkPublicKeyPem")
    ),
    "pkcs12cert": _form("({0} | pkcs12_certs)", 1, note=_CERTIFICATES.format("pkcs12cert")),
    "pkcs12certPass": _form(
        "({1} | pkcs12_certs({0}))", 2, note=_CERTIFICATES.format("pkcs12certPass")
    ),
    "pkcs12key": _form("({0} | pkcs12_key)", 1, note=_CERTIFICATES.format("pkcs12key")),
    "pkcs12keyPass": _form(
        "({1} | pkcs12_key({0}))", 2, note=_CERTIFICATES.format("pkcs12keyPass")
    ),
}

_RANDOM: Final = "templates are pure here: what is random changes at every rendering"
_CLOCK: Final = "templates have no clock here, so that nothing changes while its input does not"
_REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("now", "date", "ago", "dateInZone", "unixEpoch"), _CLOCK),
    **dict.fromkeys(("randAlphaNum", "randAlpha", "uuidv4", "genPrivateKey", "genCA"), _RANDOM),
    "toYaml": "its layout differs; to_yaml gives YAML of the same meaning",
}

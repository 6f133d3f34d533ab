"""Every filter, in the child process that renders: what it gives, and what it says of bad input."""

import asyncio
import re
from pathlib import Path

import bcrypt
import pytest

from syncret.errors import TemplateInvalid
from syncret.template.filters import FILTERS, TESTS
from syncret.template.pool import Entry, Pool
from syncret.template.sandbox import Sandbox

ROOT = Path(__file__).resolve().parents[3]

#: Template, and what it gives with the variables below.
GIVES = [
    ("{{ v | b64encode }}", "w7wvw78="),
    ("{{ v | b64encode(urlsafe=true) | b64decode(urlsafe=true) }}", "ü/ÿ"),
    ("{{ 'w7wv\nw78=' | b64decode }}", "ü/ÿ"),
    ("{{ '_-8' | b64decode(urlsafe=true) | hex_encode }}", "ffef"),
    ("{{ 'c3bc' | hex_decode }}", "ü"),
    ("{{ 'a b/c@d' | urlencode }}", "a%20b%2Fc%40d"),
    ("{{ 'a b/c' | urlencode(safe='/') }}", "a%20b/c"),
    ("{{ {'a b': 'c&d'} | urlencode }}", "a%20b=c%26d"),
    ("{{ 'a%20b%2Fc' | urldecode }}", "a b/c"),
    ("{{ v | to_json }}", '"ü/ÿ"'),
    ("{{ {'b': 1, 'a': [true, none, 1.5]} | to_json }}", '{"b": 1, "a": [true, null, 1.5]}'),
    ("{{ {'b': 1, 'a': 2} | tojson(sort_keys=true) }}", '{"a": 2, "b": 1}'),
    ("{{ {'a': 1} | to_json(indent=1) }}", '{\n "a": 1\n}'),
    ("{{ {'a': 1} | to_nice_json }}", '{\n    "a": 1\n}'),
    ("{{ '<&>' | to_json }}", '"<&>"'),
    ("{{ (j | from_json).a[1].b }}", "x"),
    ("{{ (y | from_yaml).a.b }}", "1"),
    ("{{ ('d: 2030-01-02' | from_yaml).d }}", "2030-01-02"),
    ("{{ 'a\n---\nb' | from_yaml_all | to_json }}", '["a", "b"]'),
    ("{{ {'a': {'b': [1, 'x: y']}} | to_nice_yaml(indent=2) }}", "a:\n  b:\n  - 1\n  - 'x: y'\n"),
    ("{{ {'a': [1, 2]} | to_yaml }}", "a: [1, 2]\n"),
    ("{{ {'a': 1} | dict2items }}", '[{"key": "a", "value": 1}]'),
    ("{{ {'a': 1} | dict2items('k', 'v') }}", '[{"k": "a", "v": 1}]'),
    ("{{ [{'key': 'a', 'value': 1}] | items2dict }}", '{"a": 1}'),
    ("{{ {'a': 1, 'b': 2, 'c': 3} | pick('a', ['c']) }}", '{"a": 1, "c": 3}'),
    ("{{ {'a': 1, 'b': 2} | omit('a') }}", '{"b": 2}'),
    ("{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}) }}", '{"a": {"y": 2}}'),
    ("{{ {'a': {'x': 1}} | combine({'a': {'y': 2}}, recursive=true) }}", '{"a": {"x": 1, "y": 2}}'),
    ("{{ {'b': 1, 'a': 2} | keys }}", '["b", "a"]'),
    ("{{ {'b': 1, 'a': 2} | values }}", "[1, 2]"),
    ("{% for k, v in {'b': 1} | items %}{{ k }}{{ v }}{% endfor %}", "b1"),
    ("{{ {'b': 1, 'a': 2} | dictsort }}", '[["a", 2], ["b", 1]]'),
    ("{{ 'a,b' | split(',') | join('-') }}", "a-b"),
    ("{{ ' a  b ' | split }}", '["a", "b"]'),
    ("{{ 'a\nb' | splitlines }}", '["a", "b"]'),
    ("{{ [{'a': 'x'}, {'a': 'y'}] | join(',', 'a') }}", "x,y"),
    ("{{ [1, [2, [3]]] | flatten }}", "[1, 2, 3]"),
    ("{{ [1, 2] | union([2, 3]) }}", "[1, 2, 3]"),
    ("{{ [1, 2] | intersect([2, 3]) }}", "[2]"),
    ("{{ [1, 2] | difference([2, 3]) }}", "[1]"),
    ("{{ ['a'] | zip([1]) }}", '[["a", 1]]'),
    ("{{ 'a1b22' | regex_replace('([0-9]+)', '<\\\\1>') }}", "a<1>b<22>"),
    ("{{ 'a1b2' | regex_replace('(?P<n>[0-9])', '\\\\g<n>\\\\g<n>', count=1) }}", "a11b2"),
    ("{{ 'user=app' | regex_search('user=(\\\\w+)', 1) }}", "app"),
    ("{{ 'x' | regex_search('y') }}", ""),
    ("{{ 'a1b2' | regex_findall('[0-9]') }}", '["1", "2"]'),
    ("{{ 'a.b' | regex_escape }}", "a\\.b"),
    ("{{ 'abc' | md5 }}", "900150983cd24fb0d6963f7d28e17f72"),
    ("{{ 'abc' | sha1 }}", "a9993e364706816aba3e25717850c26c9cd0d89d"),
    ("{{ ('abc' | sha256) == ('abc' | hash) }}", "true"),
    ("{{ 'abc' | sha256 | length }} {{ 'abc' | sha384 | length }}", "64 96"),
    ("{{ ('abc' | sha512) == ('abc' | hash('sha512')) }}", "true"),
    (
        "{{ 'what do ya want for nothing?' | hmac('Jefe', 'md5') }}",
        "750c783e6ab0b503eaa86e310a5db738",
    ),
    ('{{ "a\'b" | quote }}', "'a'\"'\"'b'"),
    ("{{ '<a b=\"c\">' | xml_escape }}", "&lt;a b=&quot;c&quot;&gt;"),
    ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
    ("{{ 'a\n\nb' | indent(2, first=true) }}", "  a\n\n  b"),
    ("{{ 'a\n\nb' | indent('> ', blank=true) }}", "a\n> \n> b"),
    ("{{ 'a\nb' | nindent(2) }}", "\n  a\n  b"),
    ("{{ nothing | default('x') }}{{ '' | d('y', true) }}", "xy"),
    ("{{ v | mandatory }}", "ü/ÿ"),
    ("{{ true | ternary('a', 'b') }}{{ '' | ternary('a', 'b') }}", "ab"),
    ("{{ 'Yes' | bool }}{{ '0' | bool }}{{ true | bool }}", "truefalsetrue"),
    ("{{ 86400 | date_format }}", "1970-01-02T00:00:00Z"),
    ("{{ '2030-01-31T23:00:00+01:00' | date_format('%d.%m.%Y %H:%M') }}", "31.01.2030 22:00"),
    ("{{ '2030-01-31' | date_add(days=1, hours=2) }}", "2030-02-01T02:00:00Z"),
    ("{{ '1970-01-01T00:01:00Z' | to_epoch }}", "60"),
    ("{{ 'ab' | upper }}{{ 'AB' | lower }}{{ 'ab' | capitalize }}{{ 'a b' | title }}", "ABabAbA B"),
    ("{{ '  a ' | trim }}{{ 'xax' | trim('x') }}", "aa"),
    ("{{ 'aXbX' | replace('X', '-') }}{{ 'XX' | replace('X', '-', 1) }}", "a-b--X"),
    ("{{ 'a' | center(3) }}", " a "),
    ("{{ 'a b c d e f' | truncate(6, true, '', 0) }}{{ 'a b' | wordcount }}", "a b c 2"),
    ("{{ 'aa bb' | wordwrap(2) }}", "aa\nbb"),
    ("{{ '%s-%03d' | format('a', 7) }}", "a-007"),
    ("{{ 5 | string }}{{ '7' | int + 1 }}{{ '1.5' | float }}{{ -3 | abs }}", "581.53"),
    ("{{ 2.7 | round | int }}", "3"),
    ("{{ [3, 1] | sort }}{{ [3, 1] | min }}{{ [3, 1] | max }}{{ [3, 1] | sum }}", "[1, 3]134"),
    ("{{ [1, 2] | first }}{{ [1, 2] | last }}{{ [1, 2] | length }}{{ 'ab' | count }}", "1222"),
    ("{{ [1, 1] | unique | list }}{{ 'ab' | reverse }}{{ 'ab' | list }}", '[1]ba["a", "b"]'),
    ("{{ [1, 2, 3] | batch(2) | list }}", "[[1, 2], [3]]"),
    ("{{ [1, 2, 3] | slice(2) | list }}", "[[1, 2], [3]]"),
    ("{{ ['a'] | map('upper') | list }}", '["A"]'),
    ("{{ [1, 2] | select('odd') | list }}{{ [1, 2] | reject('odd') | list }}", "[1][2]"),
    ("{{ [{'a': 1}] | selectattr('a') | list }}", '[{"a": 1}]'),
    ("{{ [{'a': 1}] | rejectattr('a') | list }}", "[]"),
    (
        "{% for g in [{'a': 1}] | groupby('a') %}{{ g.grouper }}{{ g.list }}{% endfor %}",
        '1[{"a": 1}]',
    ),
    (
        "{{ 'db-1' is match('db') }}{{ 'xdb' is match('db') }}{{ 'xdb' is search('db') }}",
        "truefalsetrue",
    ),
    ("{{ 'xdb' is regex('b$') }}", "true"),
    ("{{ v is defined }}{{ nothing is defined }}", "truefalse"),
    # What no filter does
    ("{{ none }} {{ true }} {{ 1 }} {{ {'a': 'b'} }} {{ [1] }}", 'null true 1 {"a": "b"} [1]'),
    ("line\n", "line\n"),
    ("{% set ns = namespace(n=1) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
    ("{% for x in range(3) %}{{ loop.index }}{{ joiner(',')() }}{% endfor %}", "123"),
    ("{{ dict(a=1) }}{{ cycler('a', 'b').next() }}", '{"a": 1}a'),
    ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(v) }}", "<ü/ÿ>"),
    ("{{ 'a{}'.format(1) }}{{ 'a,b'.split(',')[1] }}{{ v.startswith('ü') }}", "a1btrue"),
    ("{{ secrets['a.b'] }}{{ secrets.get('no', 'x') }}", "dottedx"),
]
VALUES = {"v": "ü/ÿ", "j": '{"a": [0, {"b": "x"}]}', "y": "a: {b: 1}"}

#: Template, and what is said of it.
REFUSED = [
    ("{{ 'a' | b64decode }}", "decodes by b64decode what is not Base64"),
    ("{{ 'x' | hex_decode }}", "decodes by hex_decode what is not hexadecimal"),
    ("{{ 'x' | from_json }}", "reads by from_json what is not JSON"),
    ("{{ 'a: [' | from_yaml }}", "reads by from_yaml what is not YAML"),
    ("{{ '!!python/object:os.system {}' | from_yaml }}", "reads by from_yaml what is not YAML"),
    ("{{ '&a [*a]' | from_yaml }}", "too large, or contains itself"),
    ("{{ '/w==' | b64decode | to_json }}", "use b64encode before"),
    ("{{ 'x' | pick('a') }}", "needs a dictionary here"),
    ("{{ 'x' | union('y') }}", "needs a list here"),
    ("{{ [1] | items2dict }}", "needs a list of dictionaries"),
    ("{{ 'x' | regex_search('a(?=b)') }}", "that RE2 does not take"),
    ("{{ 'x' | regex_search('(x)', 2) }}", "a group that the regular expression does not have"),
    (
        "{{ 'x' | regex_replace('x', '\\\\2') }}",
        "a group that the regular expression does not have",
    ),
    ("{{ 'x' | hash('crc32') }}", "asks for an algorithm that is not one of"),
    ("{{ 'x' | bcrypt(13) }}", "rounds that are not between 4 and 12"),
    ("{{ ('x' * 73) | bcrypt }}", "a password of more than 72 bytes"),
    ("{{ 'x' | htpasswd('a:b') }}", "a user that is empty"),
    ("{{ 'x' | date_format }}", "neither RFC 3339 nor seconds since 1970"),
    ("{{ 1 | date_add(days=10**9) }}", "adds to a date what makes none"),
    ("{{ 'x' | bool }}", 'needs "true" or "false"'),
    ("{{ 'x' | split('') }}", "an empty separator"),
    ("{{ nothing | mandatory }}", 'uses the key "nothing", which is not there'),
    ("{{ ['a'] | map('upper') }}", "gives something that is no text"),
    ("{{ range }}", "gives a function instead of a text"),
    ("{{ 'a' | pem_filter('CERTIFICATE') }}", "finds no PEM block"),
    ("{{ 'a' | cert_chain }}", "needs certificates in PEM"),
    ("{{ 'a' | pkcs12_key }}", "needs a PKCS#12 file that its password opens"),
    ("{{ ('a' * 40) | jks_key('password') }}", "what is not in the form JKS"),
    ("{{ '{}' | jwk_public_pem }}", "needs a JSON Web Key"),
    ("{{ 1 / 0 }}", "divides by zero"),
    ("{{ 'a' + 1 }}", "values of kinds that do not go together"),
    ("{{ [1][3] }}", "asks for a field or a place in a list"),
    ("{{ v | b64encode(nonsense=1) }}", "arguments that do not fit"),
]


async def test_what_filters_give(pool: Pool) -> None:
    secrets = {name: value.encode() for name, value in VALUES.items()} | {"a.b": b"dotted"}
    entries = [Entry(text, text) for text, _ in GIVES]
    outputs = await pool.render(entries, secrets, seed=b"s" * 32)
    assert dict(zip((text for text, _ in GIVES), outputs, strict=True)) == dict(GIVES)


async def test_what_filters_refuse(pool: Pool) -> None:
    for text, says in REFUSED:
        with pytest.raises(TemplateInvalid) as refused:
            await pool.render([Entry("here", text)], {"v": b"hunter2"}, seed=b"s" * 32)
        assert refused.value.message.startswith("here, line 1, "), text
        assert says in refused.value.message, text
    assert len(pool.pids) == 1


def test_every_filter_is_tried_and_described() -> None:
    page = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*?) \|", page.partition("## Filters")[2], flags=re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`([a-z_0-9]+)[`(]", row)}
    assert described == FILTERS.keys()
    tried = " ".join(text for text, _ in GIVES + REFUSED)
    elsewhere = (Path(__file__).parent / "test_certificates.py").read_text(encoding="utf-8")
    untried = {
        name
        for name in FILTERS
        if not re.search(rf"\| {name}\b", tried + elsewhere) and f"map('{name}')" not in tried
    }
    assert untried == set()


def test_nothing_else_is_there() -> None:
    sandbox = Sandbox()
    assert sandbox.filters.keys() == FILTERS.keys()
    assert sandbox.tests.keys() == TESTS.keys()
    assert sandbox.globals.keys() == {"range", "dict", "namespace", "cycler", "joiner"}
    assert not {"attr", "random", "xmlattr", "pprint", "safe", "urlize"} & FILTERS.keys()


async def test_bcrypt_is_bcrypt_and_the_same_every_time(pool: Pool) -> None:
    text = "{{ p | bcrypt(4) }} {{ p | htpasswd('joe', 4) }} {{ q | bcrypt(4) }}"

    async def made(seed: bytes) -> list[str]:
        (output,) = await pool.render([Entry("x", text)], {"p": b"one", "q": b"two"}, seed=seed)
        assert isinstance(output, str)
        return output.split(" ")

    first = await made(b"a" * 32)
    assert bcrypt.checkpw(b"one", first[0].encode())
    assert not bcrypt.checkpw(b"two", first[0].encode())
    assert first[1].startswith("joe:$2y$04$")
    assert bcrypt.checkpw(b"one", first[1].removeprefix("joe:").replace("$2y$", "$2b$").encode())
    assert bcrypt.checkpw(b"two", first[2].encode())
    assert first[0][:29] != first[2][:29], "another password has another salt"
    assert await made(b"a" * 32) == first
    assert (await made(b"b" * 32))[0] != first[0], "and so has another ExternalSecret"


async def test_bytes_pass_without_loss(pool: Pool) -> None:
    every = bytes(range(256))
    entries = [
        Entry("a", "{{ b }}"),
        Entry("b", "{{ b | b64encode | b64decode }}"),
        Entry("c", "{{ b[:10] ~ b[10:] }}"),
        Entry("d", "{{ b | hex_encode | hex_decode }}"),
    ]
    outputs = await pool.render(entries, {"b": every}, seed=b"s" * 32)
    assert {str(one).encode("utf-8", "surrogateescape") for one in outputs} == {every}


@pytest.mark.parametrize("shell", ["a b", "it's", "$(id)", "", "\\"])
async def test_what_is_quoted_is_one_word_of_a_shell(pool: Pool, shell: str) -> None:
    (quoted,) = await pool.render([Entry("x", "{{ v | quote }}")], {"v": shell.encode()}, seed=b"")
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f"printf '%s|' {quoted} end"), stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    assert told.decode() == f"{shell}|end|"

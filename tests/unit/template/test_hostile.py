"""Templates that mean harm: each ends with one of our errors, in its bounds, and harms no other.

What a rendering may take is 1 s of CPU time and 64 MiB; the kernel ends the process that takes
more. Here it is looked at from outside: what the process used, and what its neighbours got.
"""

import asyncio
import contextlib
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncret.errors import TemplateInvalid, TemplateTooExpensive
from syncret.template import frames
from syncret.template.filters import FILTERS
from syncret.template.pool import Entry, Pool
from syncret.template.sandbox import RenderingFailed, Sandbox
from syncret.template.work import MAX_OUTPUT, answer

VALUE = "hunter2-not-real"

TOO_LONG = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "bcrypt": "{% for i in range(99) %}{{ i | string | bcrypt(12) }}{% endfor %}",
    "a generator": "{{ range(99999) | map('string') | map('bcrypt', 10) | list | length }}",
    "sorting": "{% for i in range(999) %}{% set x = range(99999) | sort %}{% endfor %}",
}
TOO_MUCH = {
    "center": "{{ 'a'.center(10000000000) }}",
    "format": "{{ '%10000000000d' % 1 }}",
    "str.format": "{{ '{:>10000000000}'.format(1) }}",
    "format with a width given": "{{ '%*d' | format(10**9, 1) }}",
    "doubling": "{% set n = namespace(x='a' * 1000000) %}{% for i in range(99) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "str.join": "{{ ('a' * 4000000).join(('b' * 4000000) | list) }}",
    "str.replace": "{{ ('a' * 100000).replace('a', 'b' * 1000000) }}",
    "lists": "{% set n = namespace(x=['a']) %}{% for i in range(99) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "a macro that grows": "{% macro m(x) %}{{ m(x ~ x) }}{% endmacro %}{{ m('a') }}",
}
INVALID = {
    "repetition": "{{ 'a' * 10000000000 }}",
    "repetition of a list": "{{ 10000000000 * [1] }}",
    "replace": "{{ ('a' * 4000000) | replace('a', 'b' * 1000000) }}",
    "join": "{{ ('b' * 4000000) | join('a' * 4000000) }}",
    "range": "{{ range(10000000000) | list }}",
    "power": "{{ 9 ** (9 ** 9) }}",
    "power of a power": "{{ 2 ** 4000 ** 4000 }}",
    "long text": "{% for i in range(99) %}{{ 'a' * 100000 }}{% endfor %}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "deep parentheses": "{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}",
    "deep lists": "{{ " + "[" * 20000 + "]" * 20000 + " }}",
    "deep blocks": "{% if 1 %}" * 5000,
    "deep JSON": "{{ ('[' * 100000) | from_json }}",
    "deep YAML": "{{ ('[' * 100000) | from_yaml }}",
    "many signs": "{{ " + "-" * 20000 + "1 }}",
    "a YAML bomb": "{{ 'a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n"
    "c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n"
    "e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]' | from_yaml }}",
    "a class": "{{ ''.__class__ }}",
    "a class by its name in a text": "{{ ''['__cla' ~ 'ss__'] }}",
    "a class by map": "{{ [''] | map(attribute='__class__') | list }}",
    "a class by sum": "{{ [''] | sum(attribute='__class__.__mro__') }}",
    "a class by groupby": "{{ [''] | groupby('__class__') }}",
    "a class by format": "{{ '{0.__class__}'.format('') }}",
    "a class by format of an index": "{{ '{0[__class__]}'.format(secrets) }}",
    "a class by format_map": "{{ '{a.__class__}'.format_map({'a': 1}) }}",
    "attr": "{{ '' | attr('__class__') }}",
    "globals of a macro": "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "the function of a macro": "{% macro m() %}{% endmacro %}{{ m._func }}",
    "the environment": "{{ self._TemplateReference__context }}",
    "a method of a class": "{{ cycler.__init__.__globals__ }}",
    "subclasses": "{{ ().__class__.__base__.__subclasses__() }}",
    "a frame": "{{ (x for x in []).gi_frame }}",
    "mro": "{{ dict.mro() }}",
    "fromkeys": "{{ dict.fromkeys('ab', 1) }}",
    "a loop's context": "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
    "changing a list": "{{ [].append(1) }}",
    "changing what was read": "{{ secrets.update({'a': 'b'}) }}",
    "changing by set": "{% set secrets.a = 'b' %}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as os %}",
    "from import": "{% from 'os' import system %}",
    "extends": "{% extends '/etc/passwd' %}",
    "lipsum": "{{ lipsum.__globals__ }}",
    "open": "{{ open('/etc/passwd') }}",
    "a namespace's inside": "{{ namespace(a=1)._Namespace__attrs }}",
    "encode": "{{ 'a'.encode() }}",
    "translate": "{{ 'a'.translate({}) }}",
    "a pattern that would backtrack": "{{ ('a' * 50) | regex_search('(a+)+(?=b)') }}",
}
assert max(map(len, INVALID.values())) < 256 * 1024


async def hostile(pool: Pool, text: str) -> str:
    """What is said of it."""
    with pytest.raises((TemplateInvalid, TemplateTooExpensive)) as refused:
        await pool.render([Entry("it", text)], {"a": VALUE.encode()}, seed=b"s" * 32)
    assert refused.value.message.startswith("it")
    assert VALUE not in refused.value.message
    return refused.value.reason


async def neighbour(pool: Pool) -> None:
    assert await pool.render([Entry("x", "{{ a }}")], {"a": b"fine"}, seed=b"") == ["fine"]


@pytest.mark.parametrize("name", [*TOO_LONG, *TOO_MUCH])
async def test_it_is_stopped_and_harms_no_other(pool: Pool, name: str) -> None:
    text = (TOO_LONG | TOO_MUCH)[name]
    await neighbour(pool)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    reason, *_ = await asyncio.gather(hostile(pool, text), *(neighbour(pool) for _ in range(5)))
    assert reason == "TemplateTooExpensive"
    await neighbour(pool)
    count = len(pool.pids)
    await pool.close()  # what ended is counted
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # Each process has had its start, and one had a rendering that was stopped.
    assert spent < (count + 1) * 5 + frames.CPU_SECONDS
    bound = 64 * 1024 * 1024 + frames.MEMORY_BYTES
    # A child begins as a copy of this process, which counts until it becomes another program.
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert after.ru_maxrss * 1024 <= max(before.ru_maxrss * 1024, own * 1024, bound)


async def test_what_is_refused_costs_no_process(pool: Pool) -> None:
    await neighbour(pool)
    pids = pool.pids
    for name, text in INVALID.items():
        assert await hostile(pool, text) == "TemplateInvalid", name
        await neighbour(pool)
        assert pool.pids == pids, name


async def test_the_time_is_that_of_the_cpu(pool: Pool) -> None:
    await neighbour(pool)
    (pid,) = pool.pids
    started = _cpu(pid)
    task = asyncio.create_task(hostile(pool, TOO_LONG["loops"]))
    spent = 0.0
    while not task.done():
        await asyncio.sleep(0.02)
        spent = max(spent, _cpu(pid) - started)
    assert await task == "TemplateTooExpensive"
    assert 0.5 < spent < 1.5


def _runs(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _has(pid: int) -> tuple[bytes, list[str], str]:
    """Environment, descriptors, and what standard error is."""
    proc = Path(f"/proc/{pid}")
    return (
        (proc / "environ").read_bytes().strip(b"\0"),
        sorted(one.name for one in (proc / "fd").iterdir()),
        str((proc / "fd" / "2").readlink()),
    )


def _limits(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/limits").read_text(encoding="ascii").splitlines()


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_the_event_loop_goes_on_meanwhile(pool: Pool) -> None:
    await neighbour(pool)
    task = asyncio.create_task(hostile(pool, TOO_LONG["loops"]))
    turns = 0
    while not task.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 50


async def test_a_process_that_is_stopped_is_killed_by_the_clock() -> None:
    pool = Pool(patience=0.5)
    await neighbour(pool)
    (pid,) = pool.pids
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(TemplateTooExpensive):
        await neighbour(pool)
    assert pid not in pool.pids
    await pool.close()


async def test_whoever_gives_up_takes_no_answer_of_another(pool: Pool) -> None:
    await neighbour(pool)
    task = asyncio.create_task(hostile(pool, TOO_LONG["loops"]))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await neighbour(pool)
    assert len(pool.pids) == 1


async def test_two_at_most_and_none_before_the_first() -> None:
    pool = Pool(patience=120.0)
    assert pool.pids == []
    await asyncio.gather(*(neighbour(pool) for _ in range(20)))
    assert 1 <= len(pool.pids) <= 2
    pids = pool.pids
    await pool.close()
    assert not any(map(_runs, pids))


async def test_the_process_has_nothing(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCRET_TEST", VALUE)
    await neighbour(pool)
    (pid,) = pool.pids
    if os.geteuid() == 0:  # others may not look into it
        assert _has(pid) == (b"", ["0", "1", "2"], "/dev/null")
    for limit, most in (
        ("Max core file size", 0),
        ("Max open files", 3),
        ("Max processes", 0),
        ("Max file size", 0),
    ):
        line = next(line for line in _limits(pid) if line.startswith(limit))
        assert line.removeprefix(limit).split()[:2] == [str(most), str(most)], line


async def test_it_ends_with_the_operator() -> None:
    pool = Pool()
    await neighbour(pool)
    (child,) = pool._all
    assert child._process.stdin is not None
    child._process.stdin.close()
    assert await asyncio.wait_for(child._process.wait(), 60) == 0
    await pool.close()


async def test_no_state_goes_from_one_rendering_to_the_next(pool: Pool) -> None:
    await pool.render([Entry("x", "{% set leak = a %}{{ leak }}")], {"a": b"v"}, seed=b"")
    entries = [Entry("x", "{% set leak = a %}"), Entry("y", "{{ leak is defined }}")]
    assert (await pool.render(entries, {"a": b"v"}, seed=b""))[1] == "false"
    with pytest.raises(TemplateInvalid):
        await pool.render([Entry("x", "{{ a }}")], {}, seed=b"")


async def test_a_secret_template_is_not_quoted(pool: Pool) -> None:
    for text in ("{{ hunter2 }}", "{{ a | hunter2 }}", "{{ hunter2"):
        with pytest.raises(TemplateInvalid) as refused:
            await pool.render([Entry("x", text, private=True)], {"a": b"b"}, seed=b"")
        assert "hunter2" not in refused.value.message


async def test_a_name_that_comes_from_a_value_is_not_said(pool: Pool) -> None:
    for text in ("{{ secrets[a] }}", "{{ {}[a] }}", "{{ (a | from_json).x }}", "{{ '%d' % a }}"):
        with pytest.raises(TemplateInvalid) as refused:
            await pool.render([Entry("x", text)], {"a": VALUE.encode()}, seed=b"")
        assert VALUE not in refused.value.message


# Any template and any value

_WORDS = st.sampled_from(
    [
        *("{{", "}}", "{%", "%}", "{#", "#}", "for", "in", "if", "endif", "endfor", "set", "macro"),
        *("a", "secrets", "x", "|", "(", ")", "[", "]", ".", ",", "'", "~", "=", "==", "is", "not"),
        *("range", "loop", "namespace", "__class__", "items", "1", "0", "'b'", "**", "*", "-", " "),
        *FILTERS,
    ]
)
_TEMPLATES = st.one_of(
    st.text(max_size=40),
    st.lists(_WORDS, max_size=25).map(" ".join),
    st.lists(_WORDS, max_size=12).map(lambda words: "{{ " + " ".join(words) + " }}"),
    st.tuples(st.sampled_from(sorted(FILTERS)), st.lists(_WORDS, max_size=4)).map(
        lambda one: "{{ a | " + one[0] + "(" + ", ".join(one[1]) + ") }}"
    ),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(text=_TEMPLATES, value=st.binary(max_size=60), pairs=st.booleans())
def test_any_template_gives_a_text_or_one_of_our_errors(
    text: str, value: bytes, pairs: bool
) -> None:
    given_ = value.decode("utf-8", "surrogateescape")
    request = {
        "op": "render",
        "seed": "00",
        "values": {"a": given_},
        "entries": [{"text": text, "pairs": pairs}],
    }
    started = time.process_time()
    try:
        told = answer(Sandbox(), request)
    except MemoryError:
        return
    frame = frames.encode(told)
    assert len(frame) < 8 * MAX_OUTPUT
    if "failed" in told:
        assert told["failed"]["text"]
    elif not pairs:
        told["outputs"][0].encode("utf-8", "surrogateescape")
    assert time.process_time() - started < 60


@settings(max_examples=200)
@given(value=st.binary(max_size=200))
def test_any_value_passes(value: bytes) -> None:
    text = value.decode("utf-8", "surrogateescape")
    for template in ("{{ a }}", "{{ a | b64encode | b64decode }}", "{{ secrets.a }}"):
        found = Sandbox().render(template, {"a": text, "secrets": {"a": text}}, most=MAX_OUTPUT)
        assert found.encode("utf-8", "surrogateescape") == value


@given(name=st.sampled_from(sorted(FILTERS)), value=st.text() | st.integers() | st.none())
def test_any_value_in_any_filter(name: str, value: object) -> None:
    sandbox = Sandbox()
    with contextlib.suppress(RenderingFailed):
        sandbox.render("{{ v | " + name + " }}", {"v": value, "secrets": {}}, most=MAX_OUTPUT)

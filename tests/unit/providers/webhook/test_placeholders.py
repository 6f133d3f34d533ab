"""What becomes of a value depends on where it is put, and some values cannot be put there."""

import pytest

from syncret.providers.webhook.placeholders import NotWritable, Place, parse


def render(text: str, place: Place, value: bytes) -> bytes:
    parsed = parse(text, place, "path", secrets=frozenset({"s"}))
    return parsed.render({"key": value, "version": b"", "secrets.s": value})


@pytest.mark.parametrize(
    ("text", "place", "value", "written"),
    [
        ("/{{ key }}", Place.URL, b"a/b&c=d", b"/a%2Fb%26c%3Dd"),
        ("/{{key|path}}", Place.URL, b"a/b&c", b"/a/b%26c"),
        ("/{{ key }}?v={{ version }}", Place.URL, "ü".encode(), b"/%C3%BC?v="),
        ("{{ secrets.s }}", Place.HEADER, b"a b", b"a b"),
        ("Basic {{ secrets.s | base64 }}", Place.HEADER, b"u:p\n", b"Basic dTpwCg=="),
        ("[{{ key | json }}]", Place.BODY, b'"\n', b'["\\"\\n"]'),
        ("a={{ key | urlencode }}", Place.BODY, b"a&b=c", b"a=a%26b%3Dc"),
        ("{ {{ key | json }} }", Place.BODY, b"a", b'{ "a" }'),
    ],
)
def test_written(text: str, place: Place, value: bytes, written: bytes) -> None:
    assert render(text, place, value) == written


@pytest.mark.parametrize(
    ("text", "place", "value"),
    [
        ("/a/{{ key }}", Place.URL, b".."),
        ("/a/{{ key | path }}", Place.URL, b"a/../b"),
        ("/a/{{ key | path }}", Place.URL, b"./b"),
        ("{{ key }}", Place.HEADER, b"a\r\nB: c"),
        ("{{ key }}", Place.HEADER, b"a\0"),
        ("{{ secrets.s }}", Place.HEADER, b"\xff"),
        ("{{ key | json }}", Place.BODY, b"\xff"),
    ],
)
def test_not_writable(text: str, place: Place, value: bytes) -> None:
    with pytest.raises(NotWritable) as raised:
        render(text, place, value)
    assert raised.value.name in {"key", "secrets.s"}

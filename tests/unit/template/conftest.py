"""The real child process, one for all tests of a module."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from syncret.template.pool import Entry, Pool

Render = Callable[..., Awaitable[bytes]]

PATH = 'spec.target.template.data["x"]'


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(patience=120.0)
    yield pool
    await pool.close()
    assert pool.pids == []


@pytest.fixture
def render(pool: Pool) -> Render:
    """Renders one template in the child process; keywords and ``secrets`` are what was read."""

    async def render(text: str, secrets: dict[str, bytes] | None = None, **values: str) -> bytes:
        given = {name: value.encode() for name, value in values.items()} | (secrets or {})
        (output,) = await pool.render([Entry(PATH, text)], given, seed=b"s" * 32)
        assert isinstance(output, str)
        return output.encode("utf-8", "surrogateescape")

    return render

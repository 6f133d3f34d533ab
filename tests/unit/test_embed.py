"""What kopf is told: no permissions it does not need, no writes, no end of its own accord."""

from itertools import islice

import kopf

from syncret import embed


def test_delays_have_no_end_and_begin_anew_for_each_request() -> None:
    delays = embed.Endless((1, 2, 5))
    assert list(islice(delays, 6)) == [1, 2, 5, 5, 5, 5]
    assert list(islice(delays, 6)) == [1, 2, 5, 5, 5, 5]


def test_kopf_never_gives_up_on_a_request() -> None:
    backoffs = embed.kopf_settings().networking.error_backoffs
    assert not isinstance(backoffs, int | float)
    first = list(islice(backoffs, 10_000))
    assert first[0] >= 1, "not in a storm"
    assert max(first) <= 30, "not for longer than one would wait"


def test_kopf_needs_no_more_than_the_chart_grants() -> None:
    settings = embed.kopf_settings()
    assert settings.scanning.disabled, "else it lists CRDs and namespaces"
    assert settings.peering.standalone, "else it looks for objects of its own"
    assert not settings.posting.enabled, "else log lines become Events"


def test_each_life_has_settings_of_its_own() -> None:
    embed.kopf_settings().watching.chunk_size = 1
    assert embed.kopf_settings().watching.chunk_size == 500
    assert isinstance(embed.kopf_settings(), kopf.OperatorSettings)


def test_readiness_waits_for_all_that_is_watched() -> None:
    """What the handlers are registered for, and no more: else it waits for ever."""
    from support.clock import FakeClock
    from syncret.cache import Cache
    from syncret.digest import Digester
    from syncret.queue import Queue
    from syncret.watch import REFLECTED, Watcher

    registry = kopf.OperatorRegistry()
    watcher = Watcher(cache=Cache(), queue=Queue(FakeClock()), digester=Digester(b"k" * 32))
    watcher.register(registry)
    handled = {
        (handler.selector.group, handler.selector.version, handler.selector.any_name)
        for handler in registry._watching.get_all_handlers()
        if handler.selector is not None
    }
    watched = {
        (resource.group, resource.version, resource.plural)
        for resource in watcher.resources
        if resource not in REFLECTED
    }
    assert handled == watched
    assert not any(plural == "secrets" for *_, plural in handled), "their bytes never reach kopf"

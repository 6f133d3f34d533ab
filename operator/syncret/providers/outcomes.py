"""The word for what became of a call, as ``syncret_provider_calls_total`` has it. Pure."""

from syncret.errors import AccessDenied, ProviderError, ProviderTimeout, Throttled
from syncret.providers.base import NotFound


def outcome_word(result: object) -> str:
    """``result``: what the call returned, an error among it being returned and not raised."""
    match result:
        case NotFound():
            return "not_found"
        case AccessDenied():
            return "denied"
        case Throttled():
            return "throttled"
        case ProviderTimeout():
            return "timeout"
        case ProviderError():
            return "error"
        case _:
            return "ok"

"""Configuration files of Workload Identity Federation (``external_account``). Pure.

Such a file says where a token comes from and where it is sent, and google-auth believes it. So a
file is held to Google's own addresses (or those that the store names), and to sources that are a
file, or the one URL that the store approves. Sources that run a program are refused, as are
certificates and AWS: a ServiceAccount's token (``serviceAccountRef``) does the same in any cluster.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from syncret.providers.gcp.config import GcpConfig

_SOURCES: Final = frozenset({"file", "url", "headers", "format"})


def read_config(data: bytes, config: GcpConfig, *, token_source: str) -> dict[str, Any] | str:  # noqa: PLR0911 - each rule has its words
    """The file's content, or what is wrong with it, as the end of a sentence."""
    try:
        info = json.loads(data)
    except (ValueError, RecursionError):
        return "is no JSON"
    if not isinstance(info, dict) or info.get("type") != "external_account":
        return 'is no configuration of the type "external_account"'
    source = info.get("credential_source")
    if not isinstance(source, Mapping) or not {"file", "url"} & {*source}:
        return "names neither a file nor a URL as its credential_source"
    if left := sorted({*source} - _SOURCES):
        return f"has a credential_source with {', '.join(left)[:80]}, which is not allowed"
    if "url" in source and source["url"] != token_source:
        return "has a credential_source.url that is not the store's externalTokenEndpoint"
    if info.get("token_url") != f"{config.sts}/v1/token":
        return f"has a token_url that is not {config.sts}/v1/token"
    impersonated = info.get("service_account_impersonation_url")
    if impersonated is not None and not _is_impersonation(impersonated, config):
        return (
            "has a service_account_impersonation_url that is not "
            f"{config.iam}/v1/projects/-/serviceAccounts/EMAIL:generateAccessToken"
        )
    if info.get("universe_domain", "googleapis.com") != "googleapis.com":
        return "is of another universe than googleapis.com"
    return info


def impersonation_url(config: GcpConfig, email: str) -> str:
    """Where a token of a service account is asked for."""
    return f"{config.iam}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"


def _is_impersonation(url: Any, config: GcpConfig) -> bool:
    beginning, end = impersonation_url(config, "\n").split("\n")
    if not isinstance(url, str) or not url.startswith(beginning) or not url.endswith(end):
        return False
    email = url[len(beginning) : -len(end)]
    return "@" in email and "/" not in email and "?" not in email

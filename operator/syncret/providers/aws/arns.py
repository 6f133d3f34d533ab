"""Keys that are ARNs: of the store's own service and region, or nothing that it can read. Pure.

A wrong one is not asked for: if AWS, or whatever stands at another endpoint, says that there is no
such secret, that is believed, and can cost a Secret its keys.
"""

import re
from typing import Final

from syncret.errors import ProviderRejected
from syncret.providers.aws.services import Place

_ARN: Final = re.compile(
    r"arn:[a-z0-9-]+:(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<what>\S+)"
)


def is_arn(key: str) -> bool:
    """Whether a key is meant to be an ARN and no name, well formed or not."""
    return key.startswith("arn:")


def refused(key: str, place: Place, prefix: str) -> ProviderRejected | None:
    """Why an ARN is not read through a store; None if it is, or if the key is no ARN."""
    if not is_arn(key):
        return None
    shown = key if len(key) <= 200 else f"{key[:200]}…"
    if prefix:
        return ProviderRejected(
            f'"{shown}" cannot be read through this store, which has a prefix: name it without '
            "the prefix and not by its ARN, or use a store without one."
        )
    service = place.service
    found = _ARN.fullmatch(key)
    if not found or found["service"] != service.sdk or not found["what"].startswith(service.arn):
        return ProviderRejected(
            f'"{shown}" is not the ARN of a {service.thing}, which begins with '
            f'"arn:aws:{service.sdk}:{place.region}:", the number of the account, and '
            f'":{service.arn}": correct the key.'
        )
    if found["region"] != place.region:
        return ProviderRejected(
            f'"{shown}" is in another region than {place}: correct the key, or use a store of '
            "that region."
        )
    return None

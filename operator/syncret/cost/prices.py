"""What stores charge: list prices in US dollars, as published in 2026.

Taken from the price pages of AWS (Secrets Manager, Systems Manager), Azure (Key Vault) and Google
(Secret Manager). Regions, free tiers, volume discounts, and keys of a key service (AWS KMS,
premium vaults) are left out. Vault and what runs in the cluster itself charge nothing for a call.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from syncret.providers.gcp.budget import PER_MINUTE


@dataclass(frozen=True, slots=True)
class Price:
    """Of one kind of store.

    ``title``: what people call it. ``batch``: references in one call of a refresh. ``call`` and
    ``secret``: dollars for a call, and for a secret in a month. ``free_a_minute``: so many of
    Syncret's calls in a minute cost nothing, because they only look whether a version is new.
    ``page``: secrets in one call of a search; ``free_search``: whether that call costs nothing.
    """

    title: str
    batch: int = 1
    call: float = 0.0
    secret: float = 0.0
    free_a_minute: float = 0.0
    page: int = 100
    free_search: bool = False


#: By the kind of store: the key of ``spec.provider``, for AWS with the service.
PRICES: Final[Mapping[str, Price]] = {
    "aws/SecretsManager": Price("AWS Secrets Manager", batch=20, call=0.05 / 10_000, secret=0.40),
    # Standard parameters at standard throughput: neither costs anything.
    "aws/ParameterStore": Price("AWS Parameter Store", batch=10),
    "azurekv": Price("Azure Key Vault", call=0.03 / 10_000, page=25),
    "gcpsm": Price(
        "GCP Secret Manager",
        call=0.03 / 10_000,
        secret=0.06,
        free_a_minute=PER_MINUTE,
        free_search=True,
    ),
    "vault": Price("HashiCorp Vault"),
    "kubernetes": Price("Kubernetes"),
    "webhook": Price("HTTP API"),
    "file": Price("Files"),
    "fake": Price("Fake"),
}

#: What is not known here: counted, and not priced.
UNKNOWN: Final = Price("unknown")

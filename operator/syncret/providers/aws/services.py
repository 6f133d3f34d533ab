"""The services of AWS that hold secrets, and how messages speak of them. Pure."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Service:
    """``name``: in a store's spec. ``sdk``: the SDK's name for it. ``iam``: what its actions begin
    with in IAM. ``thing``: what it calls one secret. ``arn``: what stands before a name in ARNs."""

    name: str
    title: str
    sdk: str
    iam: str
    thing: str
    arn: str = ""


SECRETS_MANAGER: Final = Service(
    name="SecretsManager",
    title="AWS Secrets Manager",
    sdk="secretsmanager",
    iam="secretsmanager",
    thing="secret",
    arn="secret:",
)
PARAMETER_STORE: Final = Service(
    name="ParameterStore",
    title="AWS Parameter Store",
    sdk="ssm",
    iam="ssm",
    thing="parameter",
    arn="parameter/",
)
STS: Final = Service(name="", title="AWS STS", sdk="sts", iam="sts", thing="role")

#: By the name in ``spec.provider.aws.service``.
SERVICES: Final = {service.name: service for service in (SECRETS_MANAGER, PARAMETER_STORE)}


@dataclass(frozen=True, slots=True)
class Place:
    """A service of a region: what messages call a store."""

    service: Service
    region: str

    def __str__(self) -> str:
        return f"{self.service.title} in {self.region}"

"""What an administrator may choose, by a flag, else an environment variable, else the default.

Every flag has a twin in the environment (``--log-level`` is ``SYNCRET_LOG_LEVEL``), so that the
operator can be set up by either; an empty variable counts as not set, because that is what
templates make of a missing value. A value that cannot be used ends the start with a sentence that
names the flag or the variable it came from.

Refused: a configuration file for these (one more thing to mount, with a third precedence to
explain; only the sources of events, a list of records, have one), and
argparse's own ``type=``, whose messages name the flag even where the variable was wrong.
"""

import argparse
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Final, NoReturn

from syncret.duration import format_duration, parse_duration
from syncret.errors import SpecInvalid

ENV_PREFIX: Final = "SYNCRET_"

LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("auto", "json", "console")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. Host "": every address of the machine, IPv4 and IPv6. Port 0: any free."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The chosen settings. Times are in seconds.

    Attributes:
        http_address: Where /metrics, /healthz and /readyz are served.
        log_level: The least level of Syncret's own messages; see telemetry.logs for the others'.
        log_format: "json", "console", or "auto": console on a terminal, else json.
        workers: How many objects are reconciled at the same time.
        shards: How many parts the cluster's namespaces are divided into, for replicas to share.
        lease_duration: How long a replica that is gone keeps the others from its work.
        operator_namespace: Where the operator's own Secret is; None: that of the connection.
        kubeconfig: The file that says how to reach the cluster; None: KUBECONFIG, else the pod's
            own identity, else the usual place.
        controller_class: The stores that are this operator's: those whose spec.controller is this.
            "": those that name none.
        ambient_credentials_for_secret_stores: Whether a SecretStore without credentials may use
            the operator's own identity. A ClusterSecretStore always may.
        file_store_roots: The directories that stores of files may read. None: there are no such
            stores.
        webhook_hosts: What stores of webhooks may call, as hosts and networks. None: there are no
            such stores.
        max_concurrent_rollouts: How many workloads of the whole cluster may be rolling at the same
            time because of Syncret.
        reloader_annotations: Whether annotations of Stakater's Reloader count.
        provider_timeout: How long one call to an external store may take.
        kube_timeout: How long one request to the Kubernetes API may take, watches excepted.
        shutdown_grace: How long what has begun may take to end when the operator is stopped.
        retry_base: The wait after the first failure; it doubles with each further one.
        retry_cap: The longest such wait.
        event_sources: The file that names where events of stores come from; None: from nowhere.
        instance: What names this process among others in Events: the pod's name.
    """

    http_address: Address = Address("0.0.0.0", 8080)  # noqa: S104 - the kubelet and Prometheus come from outside
    log_level: str = "info"
    log_format: str = "auto"
    workers: int = 128
    shards: int = 1
    lease_duration: float = 15.0
    operator_namespace: str | None = None
    kubeconfig: str | None = None
    controller_class: str = ""
    ambient_credentials_for_secret_stores: bool = False
    file_store_roots: tuple[str, ...] = ()
    webhook_hosts: tuple[str, ...] = ()
    max_concurrent_rollouts: int = 20
    reloader_annotations: bool = False
    provider_timeout: float = 10.0
    kube_timeout: float = 15.0
    shutdown_grace: float = 20.0
    retry_base: float = 1.0
    retry_cap: float = 300.0
    event_sources: str | None = None
    instance: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags; :func:`from_args` makes the settings of what was given."""
    for option in _OPTIONS:
        # %: argparse formats the text.
        text = f"{option.help} [default: {option.shown}; or {option.variable}]".replace("%", "%%")
        if option.metavar:
            parser.add_argument(
                option.flag, dest=option.name, default=None, metavar=option.metavar, help=text
            )
        else:
            parser.add_argument(
                option.flag,
                dest=option.name,
                default=None,
                action=argparse.BooleanOptionalAction,
                help=text,
            )


def from_args(
    arguments: argparse.Namespace, env: Mapping[str, str], *, parser: argparse.ArgumentParser
) -> Settings:
    """The settings of parsed flags and an environment; a bad value ends in ``parser.error``."""
    chosen: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for option in _OPTIONS:
        given = getattr(arguments, option.name)
        source = option.flag
        if given is None:
            given = env.get(option.variable) or None
            source = option.variable
        if given is None:
            source = f"the default of {option.flag}"
        elif isinstance(given, bool):
            chosen[option.name] = given
        else:
            try:
                chosen[option.name] = option.parse(given)
            except SpecInvalid as error:
                _refuse(parser, source, error.message)
            except ValueError as error:
                _refuse(parser, source, str(error))
        sources[option.name] = source
    # What the kubelet and other tools call these, for manifests that know nothing of our names.
    chosen.setdefault("operator_namespace", env.get("POD_NAMESPACE") or None)
    chosen.setdefault("instance", env.get("POD_NAME") or socket.gethostname())
    settings = Settings(**chosen)
    if settings.retry_cap < settings.retry_base:
        _refuse(
            parser,
            sources["retry_cap"],
            f"{format_duration(settings.retry_cap)} is less than the first wait, which is "
            f"{format_duration(settings.retry_base)} by {sources['retry_base']}",
        )
    return settings


def _refuse(parser: argparse.ArgumentParser, source: str, sentence: str) -> NoReturn:
    parser.error(f"{source}: {sentence}")


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        usable = _is_ipv6(host)
    else:
        usable = re.fullmatch(r"[A-Za-z0-9._-]*", host) is not None
    if not (usable and colon and re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
        raise ValueError(
            f'"{text}" is not an address: write host:port, such as 0.0.0.0:8080, [::1]:8080, or '
            ":8080 for every address"
        )
    return Address(host, int(port))


def _is_ipv6(host: str) -> bool:
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f'"{text}" is none of {", ".join(words)}')
        return text.lower()

    return parse


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f'"{text}" is not a whole number from {least} to {most}')
        return int(text)

    return parse


def _seconds(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        seconds = parse_duration(text)
        if not least <= seconds <= most:
            raise ValueError(
                f"{text} is out of range: choose from {format_duration(least)} to "
                f"{format_duration(most)}"
            )
        return seconds

    return parse


def _boolean(text: str) -> bool:
    if text.lower() in {"true", "1", "yes"}:
        return True
    if text.lower() in {"false", "0", "no"}:
        return False
    raise ValueError(f'"{text}" is neither true nor false')


def _label(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise ValueError(
            f'"{text}" is not the name of a namespace: at most 63 of a-z, 0-9 and "-", which is '
            "neither first nor last"
        )
    return text


def _roots(text: str) -> tuple[str, ...]:
    roots = _listed(text)
    for root in roots:
        path = Path(root)
        if not path.is_absolute() or path.resolve() == Path("/"):
            raise ValueError(
                f'"{root}" is not an absolute path of a directory, or is all of the file system'
            )
    return roots


def _listed(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _class(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?", text):
        raise ValueError(
            f'"{text}" is not a class: at most 63 letters, digits, "-", "_" and ".", beginning and '
            "ending with a letter or digit"
        )
    return text


@dataclass(frozen=True, slots=True)
class _Option:
    """One flag and its variable. Without a metavar it takes no value: it is on or off."""

    name: str
    parse: Callable[[str], Any]
    metavar: str
    help: str
    otherwise: str = ""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return ENV_PREFIX + self.name.upper()

    @property
    def shown(self) -> str:
        """The default, as one would write it."""
        if self.otherwise:
            return self.otherwise
        value = _DEFAULTS[self.name]
        if isinstance(value, bool):
            return str(value).lower()
        if value == ():
            return "none"
        return format_duration(value) if isinstance(value, float) else str(value)


_DEFAULTS: Final[Mapping[str, Any]] = {field.name: field.default for field in fields(Settings)}

_OPTIONS: Final = (
    _Option(
        "http_address",
        _address,
        "HOST:PORT",
        "where /metrics, /healthz and /readyz are served; :8080 is every address",
    ),
    _Option(
        "log_level",
        _one_of(*LOG_LEVELS),
        "LEVEL",
        f"the least level of Syncret's own messages: {', '.join(LOG_LEVELS)}; libraries never "
        "go below warning, because their debug messages hold secrets",
    ),
    _Option(
        "log_format",
        _one_of(*LOG_FORMATS),
        "FORMAT",
        "json, console, or auto: console on a terminal, else json",
    ),
    _Option(
        "workers",
        _number(4, 1024),
        "NUMBER",
        "how many objects are reconciled at the same time, 4 to 1024; the readers of one store "
        "never take more than half of them",
    ),
    _Option(
        "shards",
        _number(1, 64),
        "NUMBER",
        "how many parts the namespaces are divided into, for that many replicas to work at the "
        "same time; the same for every replica",
    ),
    _Option(
        "lease_duration",
        _seconds(2, 600),
        "DURATION",
        "how long a replica that is gone keeps the others from its work",
    ),
    _Option(
        "operator_namespace",
        _label,
        "NAMESPACE",
        "the namespace of the operator's own Secret",
        otherwise="POD_NAMESPACE, else that of the connection",
    ),
    _Option(
        "kubeconfig",
        str,
        "FILE",
        "the kubeconfig to connect with",
        otherwise="KUBECONFIG, else the pod's ServiceAccount, else ~/.kube/config",
    ),
    _Option(
        "controller_class",
        _class,
        "NAME",
        "work only on stores whose spec.controller is this, and on what reads them; other "
        "operators of the cluster have other classes",
        otherwise="none: stores without spec.controller",
    ),
    _Option(
        "ambient_credentials_for_secret_stores",
        _boolean,
        "",
        "let a SecretStore without credentials use the operator's own cloud identity: whoever may "
        "create a SecretStore in any namespace can then read whatever that identity can read",
    ),
    _Option(
        "file_store_roots",
        _roots,
        "PATH,…",
        "the directories, and what is in them, that stores of files (spec.provider.file) may read",
    ),
    _Option(
        "webhook_hosts",
        _listed,
        "HOST,…",
        "what stores of webhooks (spec.provider.webhook) may call: names, *.names or addresses, "
        "with a port if it is not the scheme's, with http:// if not https; and networks such as "
        "10.96.0.0/12 for names that lead to addresses that are not public",
    ),
    _Option(
        "max_concurrent_rollouts",
        _number(1, 10000),
        "NUMBER",
        "how many workloads of the whole cluster may be rolling at the same time because a Secret "
        "changed; spec.rollout.maxConcurrent is the limit of one ExternalSecret",
    ),
    _Option(
        "reloader_annotations",
        _boolean,
        "",
        "restart workloads as the annotations of Stakater's Reloader say, for any Secret and "
        "ConfigMap; uninstall Reloader first, or everything is restarted twice",
    ),
    _Option(
        "provider_timeout",
        _seconds(0.1, 600),
        "DURATION",
        "how long one call to an external store may take",
    ),
    _Option(
        "kube_timeout",
        _seconds(0.1, 600),
        "DURATION",
        "how long one request to the Kubernetes API may take",
    ),
    _Option(
        "shutdown_grace",
        _seconds(0, 3600),
        "DURATION",
        "how long running syncs may take to end when the operator is stopped",
    ),
    _Option(
        "retry_base",
        _seconds(0.01, 3600),
        "DURATION",
        "the wait after the first failure, doubled with each further one",
    ),
    _Option("retry_cap", _seconds(0.01, 86400), "DURATION", "the longest wait between attempts"),
    _Option(
        "event_sources",
        str,
        "FILE",
        "a file that names the queues and hooks by which stores tell of changes",
        otherwise="none: stores are asked by the clock alone",
    ),
    _Option(
        "instance",
        str,
        "NAME",
        "what names this process in Events",
        otherwise="POD_NAME, else the host's name",
    ),
)

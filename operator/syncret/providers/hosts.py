"""Which hosts a store may name, and which addresses a connection may then go to.

Two questions, because a name says nothing about where it leads: whoever owns a name in the DNS can
point it at the cloud's metadata service, at the operator's own loopback, or at the API server, and
can do so between a check and a connection. So names are held against the list when a store is
opened, and each address at the moment of connecting, in :meth:`Hosts.sockets`.

An entry is ``[https://|http://]HOST[:PORT]`` or a network such as ``10.96.0.0/12``:

- HOST is a name, ``*.`` and a name (any number of labels, at least one), or an IP address. Without
  ``http://`` only https is allowed, without a port only that of the scheme.
- Addresses that are not public (loopback, link-local with the metadata services, private, shared,
  multicast, reserved) are refused unless an entry has that very address or a network with it.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from syncret.errors import SpecInvalid
from syncret.providers.web import AddressRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS: Final = {"https": 443, "http": 80}

_NAME: Final = re.compile(
    r"([a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9])?\.)*[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
)
_ENTRY: Final = re.compile(
    r"(?:(?P<scheme>https?)://)?(?P<host>\[[0-9a-f:.]+\]|[^\[\]:/@?#\s]+)(?::(?P<port>[0-9]{1,5}))?"
)
#: Public by the registries' tables, and yet the host of clouds: Azure's and Alibaba's metadata.
_METADATA: Final = (ip_address("168.63.129.16"), ip_address("100.100.100.200"))
#: Held back for protocols, so nobody's server is there, and Oracle's metadata are (192.0.0.192).
_PROTOCOLS: Final = ip_network("192.0.0.0/24")
#: All of IPv6 that is given out to networks. What lies outside is local, or a way to write an
#: address of IPv4 ("::127.0.0.1", "::ffff:0:127.0.0.1"), or not in use.
_UNICAST: Final = ip_network("2000::/3")
#: Addresses of IPv6 that hold one of IPv4, which a gateway of the network may deliver to.
_NAT64: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"))


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry: a host as a store may name it."""

    scheme: str
    host: str
    port: int

    def admits(self, scheme: str, host: str, port: int) -> bool:
        if (scheme, port) != (self.scheme, self.port):
            return False
        if self.host.startswith("*."):
            return host.endswith(self.host[1:]) and len(host) > len(self.host) - 1
        return host == self.host


@dataclass(frozen=True, slots=True)
class Hosts:
    """The list. Empty: nothing is allowed."""

    rules: tuple[Rule, ...] = ()
    networks: tuple[Network, ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "Hosts":
        """Raises SpecInvalid with the entry."""
        rules: list[Rule] = []
        networks: list[Network] = []
        for entry in entries:
            network = _network(entry)
            if network is not None:
                networks.append(network)
                continue
            rule = _rule(entry)
            rules.append(rule)
            address = literal(rule.host)
            if address is not None:
                networks.append(ip_network(address))
        return cls(tuple(rules), tuple(networks))

    def admits(self, scheme: str, host: str, port: int) -> bool:
        """Whether a store may name that host; lower case, an IPv6 address without brackets."""
        return any(rule.admits(scheme, host, port) for rule in self.rules)

    def reaches(self, address: Address) -> bool:
        """Whether a connection may go to that address."""
        every = [address, *_inner(address)]
        return all(
            _is_public(one) or any(one in network for network in self.networks) for one in every
        )

    def check(self, host: str, address: str) -> None:
        """Raises AddressRefused if that is where a host leads and may not."""
        found = literal(address.partition("%")[0])
        if found is None or not self.reaches(found):
            raise AddressRefused(
                f'The host "{host}" leads to an address that is not public (loopback, link-local, '
                "private or reserved): correct the url, or have the administrator add the address "
                "or its network to --webhook-hosts."
            )

    def sockets(self, info: Any) -> socket.socket:
        """A socket for an address that :meth:`check` lets pass: the last look before connecting."""
        family, kind, protocol, _, address = info
        self.check(str(address[0]), str(address[0]))
        return socket.socket(family, kind, protocol)


class CheckedResolver(AbstractResolver):
    """The system's resolver, whose answers are held against the list.

    One address that is not allowed refuses the name: a name that leads to several places, one of
    them here, is not to be tried until it works.
    """

    def __init__(self, hosts: Hosts) -> None:
        self._hosts = hosts
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for one in found:
            self._hosts.check(host, one["host"])
        return found

    async def close(self) -> None:
        await self._resolver.close()


def literal(host: str) -> Address | None:
    """The address that a host is, in the one usual form; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def is_host(host: str) -> bool:
    """Whether a text is a name or an address in its usual form.

    Other forms of addresses, which resolvers understand too ("2130706433", "0x7f.1", "127.1"), are
    neither: a name's last label is not a number.
    """
    if literal(host) is not None:
        return True
    last = host.rpartition(".")[2]
    numeric = last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last)
    return not numeric and len(host) <= 253 and _NAME.fullmatch(host) is not None


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        given_out = address in _UNICAST or address in _NAT64[0]
    else:
        given_out = address not in _PROTOCOLS and address not in _METADATA
    return given_out and address.is_global and not address.is_multicast


def _inner(address: Address) -> list[Address]:
    """The addresses of IPv4 that one of IPv6 stands for."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address] = []
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found += address.teredo
    if any(address in network for network in _NAT64):
        found.append(IPv4Address(int(address) & 0xFFFF_FFFF))
    return found


def _network(entry: str) -> Network | None:
    if "/" not in entry or "://" in entry:
        return None
    try:
        return ip_network(entry)
    except ValueError:
        raise _invalid(entry) from None


def _rule(entry: str) -> Rule:
    text = entry.lower()
    found = _ENTRY.fullmatch(text)
    if found is None:
        raise _invalid(entry)
    scheme = found["scheme"] or "https"
    host = found["host"].strip("[]").removesuffix(".")
    port = int(found["port"] or PORTS[scheme])
    if not is_host(host.removeprefix("*.")) or not 1 <= port <= 65535:
        raise _invalid(entry)
    if host.startswith("*.") and literal(host[2:]) is not None:
        raise _invalid(entry)
    address = literal(host)
    return Rule(scheme, str(address) if address is not None else host, port)


def _invalid(entry: str) -> SpecInvalid:
    return SpecInvalid(
        f'"{entry[:200]}" is not a host: write a name, "*." and a name, or an IP address, with a '
        "port if needed and with http:// if not https; or a network such as 10.96.0.0/12"
    )

"""Which hosts a store may name, and which addresses a connection may go to."""

from ipaddress import ip_address

import pytest

from syncret.errors import SpecInvalid
from syncret.providers.hosts import CheckedResolver, Hosts, is_host
from syncret.providers.web import AddressRefused

HOSTS = Hosts.parse(
    [
        "api.example.com",
        "api.example.com:8443",
        "*.internal.example.com",
        "http://plain.example.com",
        "http://10.1.2.3:8080",
        "https://[2001:DB8::1]",
        "10.96.0.0/12",
    ]
)


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [
        ("https", "api.example.com", 443),
        ("https", "api.example.com", 8443),
        ("https", "a.internal.example.com", 443),
        ("https", "a.b.internal.example.com", 443),
        ("http", "plain.example.com", 80),
        ("http", "10.1.2.3", 8080),
        ("https", "2001:db8::1", 443),
    ],
)
def test_what_is_listed_may_be_named(scheme: str, host: str, port: int) -> None:
    assert HOSTS.admits(scheme, host, port)


@pytest.mark.parametrize(
    ("scheme", "host", "port"),
    [
        ("http", "api.example.com", 80),
        ("http", "api.example.com", 443),
        ("https", "api.example.com", 444),
        ("https", "xapi.example.com", 443),
        ("https", "api.example.com.evil.org", 443),
        ("https", "internal.example.com", 443),
        ("https", "xinternal.example.com", 443),
        ("https", ".internal.example.com", 443),
        ("https", "plain.example.com", 443),
        ("https", "10.1.2.3", 443),
        ("https", "10.96.0.1", 443),
        ("https", "127.0.0.1", 443),
    ],
)
def test_what_is_not_listed_may_not(scheme: str, host: str, port: int) -> None:
    assert not HOSTS.admits(scheme, host, port)
    assert not Hosts().admits(scheme, host, port)


PRIVATE = [
    "127.0.0.1",
    "127.8.9.10",
    "0.0.0.0",  # noqa: S104 - not bound to
    "10.1.2.4",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",  # shared, as carriers and some clusters use it
    "100.100.100.200",  # Alibaba's metadata
    "168.63.129.16",  # Azure's
    "169.254.169.254",  # most others'
    "169.254.170.2",
    "192.0.0.192",  # Oracle's
    "192.0.2.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fc00::1",
    "fec0::1",
    "fd00:ec2::254",  # AWS's metadata
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:127.0.0.1",
    "64:ff9b::a9fe:a9fe",  # NAT64 of 169.254.169.254
    "64:ff9b:1::a9fe:a9fe",  # the same by a gateway of the network's own
    "2002:a9fe:a9fe::1",  # 6to4 of it
    "::169.254.169.254",
    "::127.0.0.1",
    "::ffff:0:127.0.0.1",
    "4000::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    hosts = Hosts.parse(["api.example.com"])
    assert not hosts.reaches(ip_address(address))
    with pytest.raises(AddressRefused) as raised:
        hosts.check("api.example.com", address)
    assert "api.example.com" in raised.value.sentence
    assert address not in raised.value.sentence.replace("api.example.com", "")


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "93.184.216.34",
        "2606:4700:4700::1111",
        "64:ff9b::1.1.1.1",  # what a network without IPv4 gives for a server that has nothing else
    ],
)
def test_a_public_address_is_not(address: str) -> None:
    Hosts().check("api.example.com", address)


async def test_a_name_is_held_against_the_list_when_it_is_looked_up() -> None:
    resolver = CheckedResolver(Hosts())
    with pytest.raises(AddressRefused):
        await resolver.resolve("localhost", 80)
    found = await CheckedResolver(Hosts.parse(["127.0.0.0/8"])).resolve("localhost", 80)
    assert {one["host"] for one in found} == {"127.0.0.1"}


def test_a_listed_network_and_a_listed_address_are_reached() -> None:
    assert HOSTS.reaches(ip_address("10.96.0.1"))
    assert HOSTS.reaches(ip_address("10.1.2.3"))
    assert not HOSTS.reaches(ip_address("10.1.2.2"))
    assert not HOSTS.reaches(ip_address("10.112.0.1"))


def test_an_address_with_a_zone_is_judged_without() -> None:
    with pytest.raises(AddressRefused):
        Hosts().check("a", "fe80::1%eth0")


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "ftp://a.example.com",
        "https://a.example.com/path",
        "https://user@a.example.com",
        "a.example.com:0",
        "a.example.com:99999",
        "a.example.com:",
        "*",
        "*.*.example.com",
        "a*.example.com",
        "*.10.1.2.3",
        "2130706433",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "10.96.0.1/12",
        "10.0.0.0/33",
        "a b",
        "[::1",
    ],
)
def test_an_entry_that_is_none_is_refused(entry: str) -> None:
    with pytest.raises(SpecInvalid, match="is not a host"):
        Hosts.parse([entry])


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.0.0.1", "0177.0.0.1", "1.2.3.4.5"])
def test_other_forms_of_addresses_are_no_hosts(host: str) -> None:
    assert not is_host(host)

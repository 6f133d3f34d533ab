"""The node's network: one bridge, and doors to named ports of this machine's loopback.

Pods reach a server on 127.0.0.1 only through a rule here, so no server has to listen anywhere
else. ``route_localnet``, which makes the kernel deliver such packets, is set for the bridge alone.
Nothing is forwarded or masqueraded: pods see each other, the doors, and nothing of the world.
"""

import ipaddress
import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: Fixed names: one node at a time runs on a machine, and what it left is found by them.
BRIDGE: Final = "syncret0"
NETWORK: Final = "syncret-testbed"
_PODS_CHAIN: Final = "SYNCRET-PODS"
_HOST_CHAIN: Final = "SYNCRET-HOST"
_RESULTS: Final = Path("/var/lib/cni/results")
_HOOKS: Final = (("PREROUTING", _PODS_CHAIN), ("OUTPUT", _HOST_CHAIN))
_CANDIDATES: Final = tuple(
    ipaddress.IPv4Network(f"10.{number}.0.0/24") for number in range(231, 240)
)


class NetworkError(Exception):
    """The network could not be made; the text has the command and what it said."""


@dataclass(frozen=True, slots=True)
class Network:
    """The bridge with its subnet; its first address is this machine's."""

    subnet: ipaddress.IPv4Network

    @property
    def gateway(self) -> str:
        return str(self.subnet[1])

    @classmethod
    def create(cls, folder: Path) -> "Network":
        """Makes the bridge and writes the CNI list in ``folder``. Raises NetworkError."""
        network = cls(_free_subnet())
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{network.gateway}/{network.subnet.prefixlen}", "dev", BRIDGE)
        Path(f"/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet").write_text("1")
        _run("ip", "link", "set", BRIDGE, "up")
        for hook, chain in _HOOKS:
            _iptables("-N", chain)
            _iptables("-A", hook, *_selector(chain), "-j", chain)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "10-testbed.conflist").write_text(json.dumps(network._cni(folder), indent=1))
        return network

    def open_to_pods(self, *, address: str, port: int, local_port: int) -> None:
        """What pods send to the address and port comes to 127.0.0.1:local_port."""
        self._open(_PODS_CHAIN, address, port, local_port)

    def open_to_host(self, *, port: int) -> None:
        """What this machine sends to the gateway's port comes to the same port of 127.0.0.1."""
        self._open(_HOST_CHAIN, self.gateway, port, port)

    @staticmethod
    def _open(chain: str, address: str, port: int, local_port: int) -> None:
        matches = ["-d", address, "-p", "tcp", "--dport", str(port)]
        _iptables(
            "-A", chain, *matches, "-j", "DNAT", "--to-destination", f"127.0.0.1:{local_port}"
        )

    def _cni(self, folder: Path) -> dict[str, object]:
        # isGateway is false: the plugin would switch the machine's forwarding on. The bridge has
        # its address already, and the pods' route to it comes with their address.
        return {
            "cniVersion": "0.4.0",
            "name": NETWORK,
            "plugins": [
                {
                    "type": "bridge",
                    "bridge": BRIDGE,
                    "isGateway": False,
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(folder / "addresses"),
                        "ranges": [[{"subnet": str(self.subnet), "gateway": self.gateway}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }


def remove() -> list[str]:
    """Removes whatever is there of the network; returns what it was."""
    removed = []
    for hook, chain in _HOOKS:
        if _done("iptables", "-w", "-t", "nat", "-n", "-L", chain):
            _done("iptables", "-w", "-t", "nat", "-D", hook, *_selector(chain), "-j", chain)
            _iptables("-F", chain)
            _iptables("-X", chain)
            removed.append(f"iptables chain {chain}")
    listed = subprocess.run(
        ["ip", "-json", "link", "show", "master", BRIDGE],
        capture_output=True,
        text=True,
        check=False,
    )
    # Some are gone by the time we ask: they go with the network namespace of their pod.
    removed += [
        f"link {link['ifname']}"
        for link in json.loads(listed.stdout or "[]")
        if link and _done("ip", "link", "delete", link["ifname"])
    ]
    if Path(f"/sys/class/net/{BRIDGE}").exists():
        _run("ip", "link", "delete", BRIDGE)
        removed.append(f"bridge {BRIDGE}")
    return removed + _forget_results()


def _forget_results() -> list[str]:
    """Removes what the plugins' library keeps of our pods, in a folder that all runtimes share."""
    removed = []
    for result in _RESULTS.glob(f"{NETWORK}-*-eth0"):
        sandbox = result.name.removeprefix(f"{NETWORK}-").removesuffix("-eth0")
        for file in (result, _RESULTS / f"cni-loopback-{sandbox}-lo"):
            file.unlink(missing_ok=True)
            removed.append(str(file))
    return removed


def _selector(chain: str) -> list[str]:
    return ["-i", BRIDGE] if chain == _PODS_CHAIN else []


def _free_subnet() -> ipaddress.IPv4Network:
    """The first candidate that no route of this machine touches."""
    routes = json.loads(_run("ip", "-json", "-4", "route", "show", "table", "all"))
    taken = [
        ipaddress.ip_network(route["dst"], strict=False)
        for route in routes
        if route["dst"][0].isdigit() and not route["dst"].startswith("0.")
    ]
    for candidate in _CANDIDATES:
        if not any(candidate.overlaps(other) for other in taken):
            return candidate
    raise NetworkError(
        f"All of {_CANDIDATES[0]} to {_CANDIDATES[-1]} are routed on this machine: there are "
        "no addresses for pods."
    )


def _iptables(*arguments: str) -> None:
    _run("iptables", "-w", "-t", "nat", *arguments)


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode:
        raise NetworkError(f"{_words(command)}: {done.stderr.strip()}")
    return done.stdout


def _words(command: Sequence[str]) -> str:
    return " ".join(command)

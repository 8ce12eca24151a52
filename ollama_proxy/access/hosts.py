"""Decides which `Host` headers can only mean this machine: the guard against DNS rebinding.

In such an attack a page of evil.example makes its own name resolve to 127.0.0.1, and so reaches a server on loopback
through the victim's browser. The browser still sends `Host: evil.example`. This module knows neither requests nor
settings.
"""

from __future__ import annotations

import fcntl
import re
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path

Address = IPv4Address | IPv6Address

#: Suffixes that no public resolver answers (RFC 6761, RFC 6762, and ICANN's reservation of .internal).
LOCAL_SUFFIXES = (".localhost", ".local", ".internal")

_PRIVATE = tuple(ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"))
# Only a port may follow the name: a text with anything else after it is not a host, and so not a local one.
_BRACKETS = re.compile(r"\[([^\]]*)\](?::\d*)?")
_NAME = re.compile(r"([^:]*):\d*")
_SIOCGIFADDR = 0x8915


def unmapped(address: Address) -> Address:
    """Return the IPv4 address inside an IPv4-mapped IPv6 one (`::ffff:10.0.0.1`), else the address itself."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def host_name(host: str) -> str:
    """Return the name or address of a Host header, without port and brackets, in lower case."""
    match = _BRACKETS.fullmatch(host) or _NAME.fullmatch(host)
    return (match[1] if match else host).lower()


def host_address(host: str) -> Address | None:
    """Return the address that a Host header holds, or None if it holds a name."""
    try:
        return unmapped(ip_address(host_name(host)))
    except ValueError:
        return None


def is_local_host(host: str, hostnames: Iterable[str], interface_ips: Iterable[Address]) -> bool:
    """Return True if only this machine or its network uses this Host header (docs/contract.md, "Access").

    `hostnames` are this machine's names, `interface_ips` the addresses of its interfaces. An empty Host is local: only
    hand-made HTTP/1.0 requests have none.
    """
    address = host_address(host)
    if address is not None:
        private = any(address in network for network in _PRIVATE)
        return address.is_loopback or private or address.is_unspecified or address in interface_ips
    name = host_name(host)
    return name in ("", "localhost") or name.endswith(LOCAL_SUFFIXES) or name in (n.lower() for n in hostnames)


def machine_addresses() -> frozenset[Address]:
    """Return the addresses of this machine's interfaces; empty where the system does not tell. Asks no name server."""
    return frozenset(_ipv4_addresses() | _ipv6_addresses())


def _ipv4_addresses() -> set[Address]:
    try:
        interfaces = socket.if_nameindex()
    except OSError:  # no netlink, as under a systemd unit that names its address families
        return set()
    found: set[Address] = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in interfaces:
            request = struct.pack("256s", name.encode()[:15])
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, request)
            except OSError:  # an interface without an IPv4 address, or a system with another number for the call
                continue
            found.add(IPv4Address(answer[20:24]))
    return found


def _ipv6_addresses() -> set[Address]:
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return set()
    return {IPv6Address(bytes.fromhex(line.split()[0])) for line in lines}

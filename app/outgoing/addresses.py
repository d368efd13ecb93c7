"""What an IP address stands for: the whole internet, something near this machine, or nothing that may be asked."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, Literal, TypeAlias

__all__ = ["Address", "Standing", "literal", "standing"]

Address: TypeAlias = IPv4Address | IPv6Address
Standing: TypeAlias = Literal["public", "private", "never"]

# Link-local ones, where clouds have their metadata services; such services elsewhere; and what is no single host.
_NEVER: Final = [
    ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "100.100.100.200/32",  # Alibaba Cloud
        "168.63.129.16/32",  # Azure
        "192.0.0.0/24",  # Oracle Cloud's among others
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "fd00:ec2::/32",  # Amazon
        "fd20:ce::254/128",  # Google
    )
]
_GLOBAL: Final = ip_network("2000::/3")
# These lead to the IPv4 address in their last 32 bits: by NAT64 (RFC 6052), and in the old form ::a.b.c.d.
_NAT64: Final = ip_network("64:ff9b::/96")
_COMPATIBLE: Final = ip_network("::/96")


def standing(address: Address) -> Standing:
    """What an address stands for; one that leads to another by the worse of the two."""
    if isinstance(address, IPv4Address):
        return _own(address)
    if address.ipv4_mapped is not None:
        return _own(address.ipv4_mapped)
    if address in _NAT64:
        return _own(_last_bits(address))
    found = {_own(address), *(_own(inner) for inner in _within(address))}
    return "never" if "never" in found else "private" if "private" in found else "public"


def literal(host: str) -> Address | None:
    """The address that a host is written as, also in the ways that C libraries read (2130706433, 0x7f.1); else None."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return ip_address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _own(address: Address) -> Standing:
    if any(address in network for network in _NEVER):
        return "never"
    is_public = address.is_global and (address.version == 4 or address in _GLOBAL)
    return "public" if is_public else "private"


def _within(address: IPv6Address) -> list[IPv4Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if address in _COMPATIBLE and int(address) > 1:
        return [_last_bits(address)]
    return [inner for inner in (address.sixtofour, *(address.teredo or ())) if inner is not None]


def _last_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFFFFFF)

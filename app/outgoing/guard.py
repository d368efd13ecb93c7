"""Where this service may send requests to: every address that a name has is judged, and only those are connected to."""

import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import TypeAlias

from app.outgoing.addresses import Address, literal, standing

__all__ = ["Guard", "Refused", "guard_of"]

Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")


class Refused(OSError):
    """An address that this service does not ask."""


def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, those to try first first.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What may be asked.

    A name is looked up once for each connection, and the connection goes to an address of that answer: a name server
    that says something else the next time (DNS rebinding) is not asked a next time.
    """

    private: bool = False  # also loopback and private addresses
    names: frozenset[str] = frozenset()  # hosts that may be asked wherever they are
    networks: tuple[Network, ...] = ()  # private ones that may be asked
    resolve: Resolve = look_up

    def connect(self, host: str, port: int, deadline: float) -> socket.socket:
        """Connects to the first address of a host that answers, until `deadline` (`time.monotonic()` seconds).

        Raises:
            Refused: one of its addresses must not be asked.
            TimeoutError: the deadline has passed.
            OSError: it has no address, or none of them answers.
        """
        failure = OSError(f"{host} has no address")
        for address in self._addresses(host, port):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline has passed")
            try:
                return socket.create_connection((address, port), timeout=left)
            except OSError as error:
                failure = error
        raise failure

    def objection(self, host: str) -> str | None:
        """Why a host can never be asked; None when it can, or only its addresses will tell."""
        address = literal(host)
        if address is None and (host == "localhost" or host.endswith(".localhost")):
            address = ip_address("127.0.0.1")
        return None if address is None else self._objection(host, address)

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        found = self.resolve(host, port)
        for text in found:
            objection = self._objection(host, ip_address(text))
            if objection is not None:
                raise Refused(objection)
        return found

    def _objection(self, host: str, address: Address) -> str | None:
        found, told = standing(address), str(address) if str(address) == host else f"{host} ({address})"
        if found == "never":
            return f"{told} is never asked: link-local, a cloud's metadata service, or no single host"
        if found == "public" or self.private or host.rstrip(".") in self.names:
            return None
        if any(address in network for network in self.networks):
            return None
        return (
            f"{told} is a loopback or private address, which this service does not ask: name the host or its network in"
            " CROUPIER_OUTGOING_ALLOW, or set CROUPIER_OUTGOING=private"
        )


def guard_of(allowed: str, *, private: bool) -> Guard:
    """The guard of a setting: hosts and networks, comma-separated.

    Raises:
        ValueError: something in it is neither.
    """
    words = [word.strip().lower() for word in allowed.split(",") if word.strip()]
    names = frozenset(word for word in words if literal(word) is None and _NAME.fullmatch(word))
    networks = tuple(ip_network(word) for word in words if word not in names)
    return Guard(private=private, names=names, networks=networks)

"""Where requests may be sent to: against real sockets, and resolvers that lie."""

import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from app.outgoing import Guard, Refused, guard_of
from app.outgoing.connection import post
from tests.models import ModelServer, model_server, raw

PUBLIC, PRIVATE = Guard(), Guard(private=True)
EVERYTHING = guard_of("169.254.0.0/16,fd00::/8,0.0.0.0/0", private=True)
METADATA = ["169.254.169.254", "::ffff:169.254.169.254", "2852039166", "0xa9fea9fe", "fd00:ec2::254"]
LOOPBACK = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1", "::ffff:127.0.0.1", "10.1.2.3"]


@pytest.fixture
def models() -> Iterator[ModelServer]:
    """A server on 127.0.0.1."""
    with model_server() as server:
        yield server


class Resolver:
    """A name server whose every answer is another one; the last is repeated."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> Sequence[str]:
        """The next answer."""
        del host, port
        self.asked += 1
        return self._answers[min(self.asked, len(self._answers)) - 1]


def soon() -> float:
    """A deadline."""
    return time.monotonic() + 5


@pytest.mark.parametrize("host", METADATA)
@pytest.mark.parametrize("guard", [PUBLIC, PRIVATE, EVERYTHING], ids=["public", "private", "everything"])
def test_metadata_services_are_never_asked(guard: Guard, host: str) -> None:
    """Whatever the settings allow, and however the address is written: seen beforehand, and when connecting."""
    assert "is never asked" in str(guard.objection(host))
    with pytest.raises(Refused, match="never asked"):
        guard.connect(host, 80, soon())


@pytest.mark.parametrize("host", LOOPBACK)
def test_private_addresses_need_a_setting(host: str) -> None:
    """The refusal says which one."""
    for told in ("CROUPIER_OUTGOING_ALLOW", "CROUPIER_OUTGOING=private"):
        assert told in str(PUBLIC.objection(host))
    with pytest.raises(Refused, match="CROUPIER_OUTGOING_ALLOW"):
        PUBLIC.connect(host, 80, soon())
    assert PRIVATE.objection(host) is None


@pytest.mark.parametrize("host", ["1.1.1.1", "models.example", "2606:4700::1111"])
def test_nothing_is_said_against_the_internet(host: str) -> None:
    """Nor against a name, before it is looked up."""
    assert PUBLIC.objection(host) is None


def test_a_host_or_a_network_can_be_allowed(models: ModelServer) -> None:
    """By the name in the URL, or by the address; others stay refused."""
    for allowed in ("127.0.0.0/8", "127.0.0.1", "other, 10.0.0.0/8,127.0.0.1/32"):
        guard = guard_of(allowed, private=False)
        guard.connect("127.0.0.1", models.port, soon()).close()
        with pytest.raises(Refused):
            guard.connect("192.168.7.7", models.port, soon())
    named = Guard(names=frozenset({"models.internal"}), resolve=Resolver(["127.0.0.1"]))
    for host in ("models.internal", "models.internal."):
        named.connect(host, models.port, soon()).close()
    with pytest.raises(Refused):
        named.connect("other.internal", models.port, soon())


def test_an_allowed_name_does_not_lead_to_a_metadata_service() -> None:
    """Who rules the name does not rule that."""
    guard = Guard(private=True, names=frozenset({"models"}), resolve=Resolver(["169.254.169.254"]))
    with pytest.raises(Refused, match="never asked"):
        guard.connect("models", 80, soon())


def test_one_bad_address_of_many_is_enough(models: ModelServer) -> None:
    """A name that leads to both is refused before anything is connected to."""
    for answer in (["127.0.0.1", "169.254.169.254"], ["169.254.169.254", "127.0.0.1"]):
        with pytest.raises(Refused):
            Guard(private=True, resolve=Resolver(answer)).connect("both", models.port, soon())
    with pytest.raises(Refused):
        Guard(resolve=Resolver(["1.1.1.1", "127.0.0.1"])).connect("both", models.port, soon())
    assert models.connections == 0


def test_a_resolver_that_changes_its_mind_is_asked_once(models: ModelServer) -> None:
    """DNS rebinding: what was checked is what is connected to, and a later answer counts for later connections."""
    resolver = Resolver(["127.0.0.1"], ["169.254.169.254"])
    guard = Guard(private=True, resolve=resolver)
    sock = guard.connect("rebinding", models.port, soon())
    assert sock.getpeername() == ("127.0.0.1", models.port)
    sock.close()
    assert resolver.asked == 1
    with pytest.raises(Refused):
        guard.connect("rebinding", models.port, soon())


def test_the_next_address_is_tried_when_one_does_not_answer(models: ModelServer) -> None:
    """As every client does."""
    guard = Guard(private=True, resolve=Resolver(["::1", "127.0.0.1"]))
    guard.connect("two", models.port, soon()).close()
    nobody = Guard(private=True, resolve=Resolver([]))
    with pytest.raises(OSError, match="has no address"):
        nobody.connect("nobody", models.port, soon())


def test_the_deadline_holds_for_all_addresses_together() -> None:
    """Many addresses that do not answer do not take many times as long."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(8)]
        for sock in waiting:
            sock.settimeout(0)
            sock.connect_ex(("127.0.0.1", port))
        guard = Guard(private=True, resolve=Resolver(["127.0.0.1"] * 20))
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            guard.connect("slow", port, began + 0.2)
        assert time.monotonic() - began < 1
        for sock in waiting:
            sock.close()


def test_redirects_are_not_followed(models: ModelServer) -> None:
    """The status is what is told, and where it points to is not asked."""
    head = b"HTTP/1.1 302 Found\r\nLocation: /secret\r\nContent-Length: 0\r\n\r\n"
    models.answers = {"/hook": head, "/secret": raw(b"{}")}
    assert post(models.url("/hook"), b"{}", {}, PRIVATE, timeout_s=5) == 302
    assert dict(models.asked) == {"/hook": 1}


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "a b", "http://models", "ü", "-x", "*"])
def test_an_allow_list_holds_hosts_and_networks_only(text: str) -> None:
    """Anything else is told when the service starts."""
    with pytest.raises(ValueError, match=r"."):
        guard_of(f"models,{text}", private=False)


def test_an_allow_list_is_read_whatever_its_spaces_and_case() -> None:
    """Hosts in lower case, as URLs have them; a single address is a network of one."""
    guard: Any = guard_of(" Models.Internal , 10.0.0.0/8,10.9.9.9,::1", private=False)
    assert guard.names == {"models.internal"}
    assert [str(network) for network in guard.networks] == ["10.0.0.0/8", "10.9.9.9/32", "::1/128"]

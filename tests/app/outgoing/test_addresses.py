"""Addresses: public, private, or never asked, however they are written."""

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.outgoing.addresses import literal, standing

STANDINGS = {
    "public": ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"],
    "private": [
        "127.0.0.1", "127.255.0.9", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
        "198.18.0.1", "203.0.113.7", "::1", "fc00::1", "fd12:3456::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::", "::127.0.0.1", "2001:db8::1", "4000::1",
    ],
    "never": [
        "169.254.169.254", "169.254.170.2", "169.254.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.1",
        "0.1.2.3", "255.255.255.255", "224.0.0.1", "240.0.0.1", "::", "fe80::1", "fe80::1%eth0", "ff02::1",
        "fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254", "::ffff:a9fe:a9fe", "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::", "::169.254.169.254", "2001:0:a9fe:a9fe::1", "::ffff:0.0.0.0",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("address", "expected"), [(a, name) for name, listed in STANDINGS.items() for a in listed])
def test_what_an_address_stands_for(address: str, expected: str) -> None:
    """Also where an IPv6 address leads to an IPv4 one."""
    assert standing(ip_address(address)) == expected


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("2130706433", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("017700000001", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2852039166", "169.254.169.254"),
        ("0xa9.0xfe.0xa9.0xfe", "169.254.169.254"),
        ("0251.0376.0251.0376", "169.254.169.254"),
        ("1", "0.0.0.1"),
        ("::1", "::1"),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_hosts_that_are_addresses_in_other_words(host: str, address: str) -> None:
    """As the C library reads them when it connects."""
    assert literal(host) == ip_address(address)


@pytest.mark.parametrize("host", ["localhost", "models", "models.internal", "1.2.3.4.5", "1.example", "a.b", "é", ""])
def test_hosts_that_are_names(host: str) -> None:
    """Only looking them up tells where they lead."""
    assert literal(host) is None


@given(st.ip_addresses(v=4))
def test_nothing_near_is_public(address: object) -> None:
    """No address of the ranges that the internet does not route is taken for a public one; mapped ones as their own."""
    found = ip_address(str(address))
    near = ["10.0.0.0/8", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"]
    if any(found in ip_network(network) for network in near):
        assert standing(found) != "public"
    assert standing(ip_address(f"::ffff:{found}")) == standing(found)

"""One form of an address, however it was written, and whose it is where clients are counted."""

from __future__ import annotations

import pytest

from triolet.wire.client_address import owner, plain, read_address, read_network


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::FFFF:c000:207", "192.0.2.7"),
        ("0:0:0:0:0:ffff:192.0.2.7", "192.0.2.7"),
        ("2001:0DB8::0001", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1%lo", "::1"),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert str(read_address(text)) == address


@pytest.mark.parametrize("text", ["", "unix", "%eth0", "192.0.2.7:80", "192.0.2.256", "::ffff:192.0.2", "a:b"])
def test_what_is_none_is_none(text: str) -> None:
    assert read_address(text) is None
    assert (plain(text), owner(text)) == (text, text)


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
        ("::ffff:0:0/96", "0.0.0.0/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("fe80::%eth0/64", "fe80::/64"),
        ("fe80::1%eth0", "fe80::1/128"),
        ("::/0", "::/0"),
    ],
)
def test_a_network_is_read_in_the_same_form(text: str, network: str) -> None:
    assert str(read_network(text)) == network


@pytest.mark.parametrize("text", ["", "shop.example", "10.0.0.0/33", "10.0.0.1%eth0", "::/129"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_network(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:c000:207", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
    ],
)
def test_an_app_is_told_ipv4_as_ipv4(text: str, told: str) -> None:
    assert plain(text) == told


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("64:ff9b::192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%any text", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
    ],
)
def test_a_client_of_ipv6_is_counted_by_its_64(text: str, counted: str) -> None:
    assert owner(text) == counted

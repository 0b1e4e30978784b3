"""No webhook leads into the operator's own network, however its URL is written."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest

from rushes.studio.webhooks import AddressRefusedError, DeliveryError, Sender, check_url
from rushes.studio.webhooks.address import is_public, resolve


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://example.com:8080/a?b=c",
        "https://93.184.215.14/",
        "https://[2606:4700::1111]/",
    ],
)
def test_public_urls_do(url: str) -> None:
    check_url(url, private=False)


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "https://",
        "https://user:password@example.com/", "https://example.com/#x", "https://example.com:0/",
        "https://example.com:99999/", "https://exa mple.com/", "https://example.com/\r\nx: y", "https://[::1",
        "https://example.com/\u00e9", "https://example.com/" + "x" * 2000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("private", [True, False])
def test_what_is_no_url_for_a_webhook_is_refused(url: str, private: bool) -> None:  # noqa: FBT001 - pytest's way
    with pytest.raises(AddressRefusedError) as refused:
        check_url(url, private=private)
    assert "password" not in url or "user:password" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/", "http://a.localhost/", "http://127.0.0.1:8400/", "http://10.1.2.3/", "http://192.168.0.1/",
        "http://169.254.169.254/latest/meta-data", "http://172.16.0.1/", "http://100.64.0.1/", "http://0.0.0.0/",
        "http://[::1]/", "http://[fe80::1]/", "http://[fc00::1]/", "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://224.0.0.1/", "http://255.255.255.255/",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_unless_the_operator_wants_them(url: str) -> None:
    with pytest.raises(AddressRefusedError, match="not a public one"):
        check_url(url, private=False)
    check_url(url, private=True)


@pytest.mark.parametrize("name", ["127.1", "2130706433", "0x7f000001", "localhost"])
def test_names_that_mean_loopback_are_refused_when_they_are_resolved(name: str) -> None:
    with pytest.raises((AddressRefusedError, DeliveryError)):
        Sender(private=False).post(f"http://{name}:1/", b"{}", {})


def test_a_name_with_one_private_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(*addresses: str) -> None:
        found: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    answers("93.184.215.14", "10.0.0.1")
    with pytest.raises(AddressRefusedError):
        resolve("mixed.example", 80, private=False)
    assert resolve("mixed.example", 80, private=True) == "93.184.215.14"
    answers("93.184.215.14")
    assert resolve("public.example", 80, private=False) == "93.184.215.14"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("192.0.2.1", False),
        ("2001:db8::1", False),
        ("::ffff:8.8.8.8", True),
        ("2001::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:  # noqa: FBT001 - pytest's way
    assert is_public(ipaddress.ip_address(address)) is public

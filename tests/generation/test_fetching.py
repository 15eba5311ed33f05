"""The guarded fetch: URLs refused before a DNS lookup, and addresses refused after it."""

from __future__ import annotations

import ipaddress
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generation.fetching import BlockedAddressError, FetchError, fetch, policy, transport

# Refused by their text alone, without a DNS lookup or a connection.
HOSTILE = Path(__file__).with_name("hostile_urls.txt").read_text("utf-8").splitlines()
HOSTILE += [
    "",
    " ",
    "\x00",
    "http://",
    "https://",
    "http://example.com/a b",
    " http://example.com/",
    "http://example.com/ ",
    "http://example.com/\r\nX-Evil: 1",
    "http://example.com\r\n/",
    "http://exam\tple.com/",
    "http://example.com/\x00.png",
    "http://example.com/\x7f",
    "http://127.0.0.1\t/",
    "ht\ntp://127.0.0.1/",
    "http://example.com/" + "a" * 9000,
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 130 + "com/",
    "http://\u202eexample.com/",
    "http://\ud800.com/",
]

PUBLIC = [
    "http://example.com",
    "http://example.com/a.png",
    "https://example.com:443/a?X-Amz-Signature=1",
    "https://EXAMPLE.com/a#part",
    "http://example.com:80/",
    "https://a-b.example.co.uk/",
    "https://xn--bcher-kva.example.org/",
    "https://cdn_1.example.net/x",
    "http://8.8.8.8/",
    "http://[2606:4700::1111]/",
    "https://[2a00:1450:4001::1]:443/",
    "https://1a.example.com/%2e%2e/x?u=http://127.0.0.1/",
]


def answer(*addresses: str) -> list[tuple[Any, ...]]:
    return [
        (
            socket.AF_INET6 if ":" in address else socket.AF_INET,
            socket.SOCK_STREAM,
            6,
            "",
            (address, 80),
        )
        for address in addresses
    ]


class Network:
    """A fake network that counts lookups and connections, with scripted DNS answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.script: list[list[tuple[Any, ...]]] = []
        self.lookups: list[str] = []
        self.connects: list[tuple[str, int]] = []
        monkeypatch.setattr(transport.socket, "getaddrinfo", self.getaddrinfo)
        monkeypatch.setattr(socket, "create_connection", self.create_connection)

    def getaddrinfo(
        self, host: bytes | str, *args: object, **kwargs: object
    ) -> list[tuple[Any, ...]]:
        self.lookups.append(host.decode() if isinstance(host, bytes) else host)
        if not self.script:
            raise socket.gaierror(socket.EAI_NONAME, "scripted: no such name")
        return self.script.pop(0)

    def create_connection(
        self, address: tuple[str, int], *args: object, **kwargs: object
    ) -> socket.socket:
        self.connects.append(address)
        raise ConnectionRefusedError("scripted: refused")


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    return Network(monkeypatch)


def test_hostile_url_corpus_has_at_least_160_urls() -> None:
    assert len(set(HOSTILE)) >= 160


@pytest.mark.parametrize("url", HOSTILE, ids=lambda url: ascii(url[:60]))
def test_hostile_url_is_refused_before_any_lookup(url: str, network: Network) -> None:
    with pytest.raises(BlockedAddressError) as caught:
        fetch(url)
    assert network.lookups == []
    assert network.connects == []
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("url", PUBLIC)
def test_public_url_reaches_the_connection(url: str, network: Network) -> None:
    network.script = [answer("93.184.216.34")]
    with pytest.raises(FetchError) as caught:
        fetch(url)
    assert caught.value.retryable
    assert len(network.connects) == 1
    assert len(network.lookups) <= 1
    ipaddress.ip_address(network.connects[0][0])  # a number, never a name


@given(
    st.text(max_size=80)
    | st.text(alphabet="htps:/@[]0123456789abcdefx.%#?\\-_ \t\r\n", max_size=60)
)
@settings(max_examples=1500, deadline=None)
def test_check_url_raises_only_blocked_address_error(text: str) -> None:
    for url in (text, f"http://{text}", f"https://{text}/", f"http://example.com{text}"):
        try:
            target = policy.check_url(url)
        except BlockedAddressError:
            continue
        assert target.scheme in {"http", "https"}
        assert target.port in {80, 443}
        assert target.without_query.isascii()


@given(st.ip_addresses())
@settings(max_examples=500, deadline=None)
def test_private_ip_addresses_are_blocked(address: policy.IpAddress) -> None:
    if address.is_private or address.is_multicast or address.is_loopback or address.is_link_local:
        with pytest.raises(BlockedAddressError):
            policy.check_ip_address(address)


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["168.63.129.16"],
        ["::1"],
        ["fe80::1%2"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["93.184.216.34", "10.0.0.1"],
        ["2606:4700::1111", "::1"],
        ["93.184.216.34", "::ffff:127.0.0.1"],
        ["not-a-number"],
        ["0.0.0.0"],
        ["100.64.0.1"],
    ],
    ids=" ".join,
)
def test_one_private_address_blocks_the_host_name(answers: list[str], network: Network) -> None:
    network.script = [answer(*answers)]
    with pytest.raises(BlockedAddressError):
        fetch("http://rebind.example.com/a.png?secret=1")
    assert network.lookups == ["rebind.example.com"]
    assert network.connects == []


def test_host_name_is_looked_up_only_once(network: Network) -> None:
    network.script = [answer("93.184.216.34"), answer("127.0.0.1")]
    with pytest.raises(FetchError):
        fetch("http://rebind.example.com/")
    assert network.lookups == ["rebind.example.com"]
    assert network.connects == [("93.184.216.34", 80)]


def test_next_ip_address_is_tried_after_a_refused_connection(network: Network) -> None:
    network.script = [answer("2606:4700::1111", "93.184.216.34")]
    with pytest.raises(FetchError):
        fetch("https://example.com/")
    assert network.connects == [("2606:4700::1111", 443), ("93.184.216.34", 443)]


def test_slow_lookup_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    release, ended = threading.Event(), []

    def look_up(*args: Any, **kwargs: Any) -> list[Any]:
        release.wait(60)
        ended.append(args)
        return []

    monkeypatch.setattr(transport.socket, "getaddrinfo", look_up)
    with pytest.raises(FetchError, match="in time") as caught:
        fetch("http://example.com/", deadline=0.2)
    assert ended == []
    release.set()
    assert caught.value.retryable


def test_allowed_schemes_can_be_restricted(network: Network) -> None:
    with pytest.raises(BlockedAddressError, match="https"):
        fetch("http://example.com/", schemes=["https"])
    assert network.lookups == []

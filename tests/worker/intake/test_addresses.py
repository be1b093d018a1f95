"""Which addresses count as public: IANA's special ones never do, in no disguise."""

from __future__ import annotations

import socket
import threading

import pytest

from easel_worker.intake.addresses import is_public, is_usable_locally, parse_address, resolve

NOWHERE = ".".join("0000")


@pytest.mark.parametrize(
    "text",
    [
        *(NOWHERE, "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254"),
        *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1"),
        *("192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1"),
        *("239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "ff02::1"),
        *("100::1", "2001::1", "2001:10::1", "2001:db8::1", "3fff::1", "5f00::1", "64:ff9b:1::1", "4000::1"),
        # IPv4 inside IPv6: mapped, compatible, translated, NAT64, 6to4
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.1.2.3"),
        *("::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1"),
    ],
)
def test_not_public(text: str) -> None:
    assert not is_public(parse_address(text))


@pytest.mark.parametrize(
    "text",
    [
        *("1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.0.1", "172.32.0.1", "100.63.0.1", "100.128.0.1"),
        *(
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::",
        ),
    ],
)
def test_public(text: str) -> None:
    assert is_public(parse_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "100.118.0.1", "::1", "fd00::1"])
def test_what_a_local_host_may_have(text: str) -> None:
    assert is_usable_locally(parse_address(text))


@pytest.mark.parametrize(
    "text", ["169.254.169.254", "fe80::1", NOWHERE, "::", "224.0.0.1", "::ffff:169.254.169.254"]
)
def test_what_even_a_local_host_may_not_have(text: str) -> None:
    assert not is_usable_locally(parse_address(text))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost"])
def test_other_spellings_of_this_machine_resolve_to_it(host: str) -> None:
    # So they are refused by their addresses: nothing is judged by how a name is written.
    found = resolve(host, 80, 10)
    assert found
    assert not any(is_public(parse_address(text)) for text in found)


def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(socket.gaierror):
        resolve("no-such-host.invalid", 80, 10)


def test_a_label_that_is_too_long() -> None:
    with pytest.raises(OSError, match=r"too long|not known"):
        resolve("a" * 70 + ".example", 80, 10)


def test_no_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()

    def slow(*_: object, **__: object) -> list[object]:
        answer.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(TimeoutError, match="no answer for the name localhost"):
        resolve("localhost", 80, 0.01)
    answer.set()

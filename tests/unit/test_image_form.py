"""What a gateway can tell of a picture without decoding it and without the network."""

from __future__ import annotations

import base64

import pytest

from easel_contract.errors import ContractError
from easel_contract.images import ImageRules, check_image, parse_url

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100)).decode()
RULES = ImageRules()


def refused(text: str, rules: ImageRules = RULES) -> str:
    with pytest.raises(ContractError) as caught:
        check_image(text, field="mask", rules=rules)
    assert (caught.value.field, caught.value.status) == ("mask", 422)
    return caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        PNG,
        f"data:image/png;base64,{PNG}",
        f"  {PNG}\n",
        "https://example.com/a.png",
        "HTTP://EXAMPLE.com:80/a b/ü.png?x=1&y=ä",
        "http://[2606:4700::1111]/a.png",
        "http://bücher.example/",
    ],
)
def test_what_may_be_a_picture(text: str) -> None:
    check_image(text, field="mask", rules=RULES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is empty"),
        ("hello, world", "neither base64 nor"),
        (base64.b64encode(b"%PDF-1.7 and so on and on").decode(), "not one of PNG"),
        ("ftp://example.com/a.png", "neither base64 nor"),
        ("http://", "use http:// or https:// and a host"),
        ("http://example.com:99999/", "cannot be read"),
        ("http://[::1", "cannot be read"),
        ("http://user:secret@example.com/a.png", "user names and passwords"),
        ("http://exa mple.com/a.png", "cannot be read"),
        ("https://example.com:8443/a.png", "port 8443 is not one of 80, 443"),
        ("http://example.com/" + "a" * 9000, "longer than"),
    ],
)
def test_what_is_none(text: str, told: str) -> None:
    assert told in refused(text)


def test_size_is_told_by_the_length() -> None:
    assert "EASEL_IMAGE_MAX_BYTES" in refused(PNG + "A" * 4000, ImageRules(max_bytes=1024))


def test_urls_can_be_switched_off() -> None:
    assert refused("http://example.com/a.png", ImageRules(urls=False)).startswith("Requests not allowed")


def test_hosts() -> None:
    rules = ImageRules(hosts=("example.com", "*.oss.example", "minio:9000"))
    for allowed in (
        "https://example.com/a.png",
        "https://EXAMPLE.com./a.png",
        "http://a.b.oss.example/a.png",
        "http://minio:9000/a.png",
    ):
        check_image(allowed, field="mask", rules=rules)
    for refused_one in (
        "https://example.org/a.png",
        "https://notexample.com/a.png",
        "https://oss.example/a.png",
        "https://oss.example.evil.com/a.png",
        "http://minio/a.png",
        "http://minio:9001/a.png",
        "https://example.com:9000/a.png",
    ):
        assert "Requests not allowed" in refused(refused_one, rules), refused_one


def test_a_url_is_taken_apart_once() -> None:
    url = parse_url("https://Bücher.Example:8443/a b/ü%20x?q=ä b#part", field="image")
    assert (url.scheme, url.host, url.port) == ("https", "xn--bcher-kva.example", 8443)
    assert url.target == "/a%20b/%C3%BC%20x?q=%C3%A4%20b"
    assert url.authority == "xn--bcher-kva.example:8443"

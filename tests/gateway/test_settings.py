"""The gateway's settings, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from easel_contract.settings import InvalidSettingsError, read_settings
from easel_gateway.settings import GatewaySettings, is_loopback

EVERYWHERE = "0.0.0.0"  # noqa: S104 - the address whose refusal is tested


def test_without_tokens_only_this_machine_is_served() -> None:
    assert GatewaySettings().host == "127.0.0.1"
    assert GatewaySettings(tokens="token-1", host=EVERYWHERE).port == 8000
    for host in (EVERYWHERE, "::", "10.0.0.1", "example.org"):
        with pytest.raises(InvalidSettingsError) as refused:
            read_settings(GatewaySettings, host=host)
        assert "EASEL_TOKENS" in str(refused.value)
        assert "EASEL_HOST" in str(refused.value)


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        (EVERYWHERE, False),
        ("::", False),
        ("", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback(host: str, inside: bool) -> None:
    assert is_loopback(host) is inside


def test_tokens_may_have_names() -> None:
    settings = GatewaySettings(tokens=" alice:secret-a , secret-b,bob:se:cret ")
    assert settings.named_tokens() == {"secret-a": "alice", "secret-b": "", "se:cret": "bob"}


@pytest.mark.parametrize("tokens", ["ab", "alice:", "with space", "tökens"])
def test_unusable_tokens_are_refused_without_showing_them(tokens: str) -> None:
    with pytest.raises(InvalidSettingsError) as refused:
        read_settings(GatewaySettings, tokens=tokens)
    assert "EASEL_TOKENS" in str(refused.value)
    assert tokens not in str(refused.value)


def test_a_token_never_shows_in_text() -> None:
    settings = GatewaySettings(tokens="secret-token")
    assert "secret-token" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("wrong", "variable"),
    [
        ({"port": 70_000}, "EASEL_PORT"),
        ({"max_body_bytes": 1}, "EASEL_MAX_BODY_BYTES"),
        ({"public_paths": "healthz"}, "EASEL_PUBLIC_PATHS"),
    ],
)
def test_a_wrong_field_is_named(wrong: dict[str, Any], variable: str) -> None:
    with pytest.raises(InvalidSettingsError, match=variable):
        read_settings(GatewaySettings, **wrong)


def test_public_paths_are_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_PUBLIC_PATHS", "/healthz, /readyz")
    assert GatewaySettings().public_paths == ("/healthz", "/readyz")

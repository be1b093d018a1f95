"""Settings are checked at start and the wrong one is named; secrets are not repeated."""

from __future__ import annotations

import pytest

from easel_contract.settings import CommonSettings, InvalidSettingsError, load, read_settings


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read_settings(CommonSettings)
    assert (settings.service, settings.max_delivery, settings.lease_s) == ("easel", 3, 30.0)
    monkeypatch.setenv("EASEL_SERVICE", "sd_async")
    monkeypatch.setenv("EASEL_MOUNT_PATHS", "/mnt/a, /mnt/a/b/")
    settings = read_settings(CommonSettings, max_delivery=7, lease_s=None)
    assert (settings.service, settings.max_delivery, settings.lease_s) == ("sd_async", 7, 30.0)
    assert settings.mount_paths == ("/mnt/a/b", "/mnt/a"), "longest first"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("EASEL_MAX_DELIVERY", "0"),
        ("EASEL_MAX_DELIVERY", "many"),
        ("EASEL_SERVICE", "no spaces"),
        ("EASEL_SERVICE", "x.sync"),
        ("EASEL_REDIS_URL", "http://secret-host"),
        ("EASEL_MOUNT_PATHS", "relative"),
        ("EASEL_LOG_LEVEL", "LOUD"),
        ("EASEL_QUEUE_CLAIM_BYTES", "4095"),
        ("EASEL_QUEUE_CLAIM_BYTES", "-1"),
    ],
)
def test_the_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidSettingsError, match=name):
        read_settings(CommonSettings)


def test_an_s3_endpoint_needs_its_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EASEL_S3_ENDPOINT", "localhost:9000")
    with pytest.raises(InvalidSettingsError, match="s3_access_key"):
        read_settings(CommonSettings)


def test_load_says_it_and_exits_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EASEL_REDIS_URL", "http://user:hunter2@host")
    with pytest.raises(SystemExit) as caught:
        load(CommonSettings)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert "EASEL_REDIS_URL" in said
    assert "hunter2" not in said

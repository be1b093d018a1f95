"""Redis addresses: one server, Sentinel, a cluster; refused with a reason and never repeated."""

from __future__ import annotations

import pytest

from easel_contract.settings import InvalidSettingsError, read_settings
from easel_gateway.settings import GatewaySettings
from easel_queue import AsyncQueue, Queue, QueueUnavailableError, read_address
from easel_worker.settings import WorkerSettings


def test_sentinel() -> None:
    address = read_address(
        "redis+sentinel://u:p%2F%40@s1,s2:26380,[::1]:5,[fe80::2]/the%20master/3"
        "?sentinel_username=watch&sentinel_password=p%26q&socket_timeout=3"
    )
    assert address.kind == "sentinel"
    assert address.nodes == (("s1", 26379), ("s2", 26380), ("::1", 5), ("fe80::2", 26379))
    assert address.master == "the master"
    assert address.options == {"username": "u", "password": "p/@", "db": 3, "socket_timeout": 3.0}
    assert address.asking == {"username": "watch", "password": "p&q", "ssl": False}
    assert not address.ssl


def test_cluster() -> None:
    address = read_address("rediss+cluster://:secret@n1:7000,n2?ssl_ca_certs=/ca.pem")
    assert address.kind == "cluster"
    assert address.nodes == (("n1", 7000), ("n2", 6379))
    assert address.ssl
    assert address.options == {"password": "secret", "db": 0, "ssl_ca_certs": "/ca.pem"}
    assert address.asking == {**address.options, "ssl": True}, "any node may be asked, with the same login"


@pytest.mark.parametrize("url", ["redis://h", "rediss://u:p@h:1/2", "unix:///run/redis.sock"])
def test_one_server(url: str) -> None:
    assert read_address(url).kind == "server"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis+sentinel://:hunter2@s1:26379", "name the master"),
        ("redis+sentinel://:hunter2@s1:26379/", "name the master"),
        ("redis+sentinel://:hunter2@s1/m/0/1", "name the master"),
        ("redis+sentinel://:hunter2@s1/m/x", "is a number"),
        ("redis+sentinel://:hunter2@s1:port/m", "host:port"),
        ("redis+sentinel://:hunter2@s1:99999/m", "host:port"),
        ("redis+sentinel://:hunter2@s1,,s2/m", "host:port"),
        ("redis+sentinel://:hunter2@/m", "host:port"),
        ("redis+sentinel://:hunter2@::1/m", "in brackets"),
        ("redis+sentinel://:hunter2@s1/m?db=1", "'db'"),
        ("redis+sentinel://:hunter2@s1/m?sentinel_pasword=x", "'sentinel_pasword'"),
        ("redis+sentinel://:hunter2@s1/m?socket_timeout=soon", "socket_timeout"),
        ("redis+cluster://:hunter2@n1/1", "database 0 only"),
        ("redis+cluster://:hunter2@n1?sentinel_password=x", "'sentinel_password'"),
        ("redis+cluster://", "use one of"),
        ("sentinel://:hunter2@s1/m", "use one of"),
        ("redis://:hunter2@h:port", "percent-encode"),
        ("redis://:hunter2/x@h:1", "percent-encode"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        read_address(url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ValueError, match=reason):
        Queue(url)
    with pytest.raises(ValueError, match=reason):
        AsyncQueue(url)


@pytest.mark.parametrize("model", [GatewaySettings, WorkerSettings])
def test_the_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, model: type[GatewaySettings | WorkerSettings]
) -> None:
    monkeypatch.setenv("EASEL_REDIS_URL", "redis+sentinel://:hunter2@s1:26379")
    with pytest.raises(InvalidSettingsError, match="EASEL_REDIS_URL: name the master") as caught:
        read_settings(model)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("EASEL_REDIS_URL", "redis+sentinel://:hunter2@s1:26379/mymaster")
    assert "hunter2" not in repr(read_settings(model))


def test_nothing_that_is_shown_has_a_password() -> None:
    assert "hunter2" not in repr(read_address("redis+cluster://:hunter2@n1"))


@pytest.mark.parametrize("scheme", ["redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster"])
async def test_nobody_there_is_told_from_a_wrong_address(scheme: str) -> None:
    path, query = ("/m", "?sentinel_password=hunter3") if "sentinel" in scheme else ("", "")
    url = f"{scheme}://user:hunter2@127.0.0.1:1{path}{query}"
    tls = scheme.startswith("rediss")
    queue, loop_queue = Queue(url), AsyncQueue(url)
    for client in (queue, loop_queue):
        connection = client._redis.connection_pool.make_connection()
        assert ("SSL" in type(connection).__name__) is tls
    with pytest.raises(QueueUnavailableError, match=r"none of .* knows") as caught:
        queue.ping()
    assert "hunter" not in str(caught.value)
    with pytest.raises(QueueUnavailableError, match=r"none of .* knows") as caught:
        await loop_queue.ping()
    assert "hunter" not in str(caught.value)
    queue.close()
    await loop_queue.close()

"""compose.yaml as far as it can be checked without a Docker engine: schema, references, settings."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis
import yaml

from easel_contract.settings import CommonSettings, read_settings
from easel_gateway.settings import GatewaySettings
from easel_queue import embedded
from easel_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS: dict[str, type[CommonSettings]] = {
    "gateway": GatewaySettings,
    "worker-cpu": WorkerSettings,
    "worker-gpu": WorkerSettings,
}
SECRETS = {
    "REDIS_PASSWORD": "redis0hush",
    "EASEL_S3_ACCESS_KEY": "access0hush",
    "EASEL_S3_SECRET_KEY": "secret0hush",
    "EASEL_TOKENS": "alice:token-hush-1",
    "EASEL_METRICS_TOKEN": "token-hush-2",
}
_VARIABLE = re.compile(r"\$\{(\w+)(?::(-|\?)([^}]*))?\}")


def interpolated(text: str, environment: dict[str, str]) -> str:
    """Compose's ${NAME:-default} and ${NAME:?message}, and $$ for a dollar."""

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if environment.get(name):
            return environment[name]
        if kind == "?":
            raise KeyError(name)
        return rest or ""

    return _VARIABLE.sub(value, text).replace("$$", "$")


def environment_of(service: str) -> dict[str, str]:
    pairs = SERVICES[service].get("environment", {}).items()
    return {name: interpolated(str(value), SECRETS) for name, value in pairs}


def test_it_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/deploy/compose-spec.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)
    broken = {**COMPOSE, "services": {"x": {"image": "y", "health": {}}}}
    with pytest.raises(jsonschema.ValidationError):  # the schema does look
        jsonschema.Draft7Validator(schema).validate(broken)


def test_whoever_is_waited_for_can_say_that_it_is_healthy() -> None:
    waited = 0
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[name]
            waited += 1
    assert waited == 7


@pytest.mark.parametrize("service", SETTINGS)
def test_every_variable_is_a_setting_and_its_value_is_valid(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = SETTINGS[service]
    environment = environment_of(service)
    for name, value in environment.items():
        assert name.removeprefix("EASEL_").lower() in model.model_fields, f"{name} is no setting"
        monkeypatch.setenv(name, value)
    settings = read_settings(model)
    assert settings.redis_url is not None
    assert settings.redis_url.get_secret_value() == "redis://:redis0hush@redis:6379/0"
    assert settings.s3_endpoint == "http://s3:8333"
    if isinstance(settings, GatewaySettings):
        assert settings.named_tokens() == {"token-hush-1": "alice", "token-hush-2": "prometheus"}


def test_gateway_and_workers_share_what_they_must_agree_on() -> None:
    gateway, *workers = ({name: environment_of(service).get(f"EASEL_{name.upper()}")
                          for name in CommonSettings.model_fields} for service in SETTINGS)  # fmt: skip
    assert all(worker == gateway for worker in workers)


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_has_a_default(missing: str) -> None:
    text = (ROOT / "compose.yaml").read_text()
    rest = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(KeyError, match=missing):
        interpolated(text, rest)


def test_only_the_gateway_is_reachable_from_other_machines() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"gateway": ["${EASEL_PORT:-8000}:8000"], "prometheus": ["127.0.0.1:9090:9090"]}
    assert COMPOSE["networks"]["backend"]["internal"] is True
    assert {name for name, service in SERVICES.items() if "edge" in service["networks"]} == set(published)


def test_profiles_and_gpu() -> None:
    profiles = {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service}
    assert profiles == {"worker-cpu": ["cpu"], "worker-gpu": ["gpu"]}
    (device,) = SERVICES["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
    assert SERVICES["worker-gpu"]["build"]["args"] == {"TORCH": "cuda"}
    assert SERVICES["worker-cpu"]["build"]["args"] == {"TORCH": "cpu"}


def test_a_worker_gets_the_time_it_was_promised() -> None:
    for name in ("worker-cpu", "worker-gpu"):
        grace = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert grace > float(environment_of(name)["EASEL_DRAIN_S"])


def test_ports_agree() -> None:
    assert ":8000/" in SERVICES["gateway"]["healthcheck"]["test"][-1]
    assert environment_of("gateway")["EASEL_PORT"] == "8000"
    prometheus = yaml.safe_load(COMPOSE["configs"]["prometheus"]["content"])
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in prometheus["scrape_configs"]}
    assert (jobs["gateway"]["names"], jobs["gateway"]["port"]) == (["gateway"], 8000)
    assert jobs["worker"]["names"] == ["worker-cpu", "worker-gpu"]
    for name in jobs["worker"]["names"]:
        assert environment_of(name)["EASEL_METRICS_PORT"] == str(jobs["worker"]["port"])
        assert f":{jobs['worker']['port']}/" in SERVICES[name]["healthcheck"]["test"][-1]


def test_nobody_runs_with_more_rights_than_needed() -> None:
    for name, service in SERVICES.items():
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.get("privileged")
        assert name == "s3" or service["cap_drop"] == ["ALL"]
        if "build" in service:
            user = re.search(r"^USER (.+)$", (ROOT / service["build"]["dockerfile"]).read_text(), re.M)
            assert user is not None
            assert user[1] == "10001"
        elif name != "s3":  # drops its rights by itself
            assert not service["user"].startswith("0")


def test_images_are_pinned() -> None:
    for service in SERVICES.values():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+", service["image"])


def test_the_redis_command_really_starts_what_it_promises(tmp_path: Path) -> None:
    program = tmp_path / "bin/valkey-server"
    program.parent.mkdir()
    program.symlink_to(embedded.find_server().path)
    (tmp_path / "data").mkdir()
    port = embedded.free_port()
    script = interpolated(SERVICES["redis"]["command"][2], {})
    script = script.replace("/tmp", str(tmp_path), 2)  # noqa: S108 - the container's own, replaced here
    script = script.replace("dir /data", f"dir {tmp_path}/data")
    process = subprocess.Popen(
        ["sh", "-c", script.rstrip() + f" --port {port} --bind 127.0.0.1"],
        env={"PATH": f"{program.parent}:/usr/bin:/bin", **environment_of("redis")},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert any("Ready to accept connections" in line for line in process.stdout)
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with redis.Redis(port=port, password="redis0hush") as client:
            config = client.config_get("*")
        assert (config["appendonly"], config["appendfsync"]) == ("yes", "always")
        assert (config["maxmemory-policy"], config["save"]) == ("noeviction", "")
        assert (tmp_path / "redis.conf").stat().st_mode & 0o777 == 0o600
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()

"""The cloud guide's two Python programs run against Easel, nothing but host, token and bucket replaced."""

from __future__ import annotations

import io
import re
import subprocess
import threading
from pathlib import Path

import httpx
import pytest
from PIL import Image

from easel_worker.diffusion.random_model import build_random_checkpoint

from ..store.conftest import S3Server
from .running import Running, running

GUIDE = Path(__file__).parent / "guide"
TOKEN = "guide-token"


def program(name: str, easel: Running) -> str:
    """A program of the guide with the replacements that the guide itself asks for."""
    host = easel.url.removeprefix("http://")
    text = (GUIDE / f"{name}.py.txt").read_text(encoding="utf-8")
    for old, new in {
        "<service_url>": f"{easel.url}/api/predict/{easel.service}",
        "<token>": TOKEN,
        "139699392458****.cn-hangzhou.pai-eas.aliyuncs.com": host,
        "sd_async": easel.service,
        "<examplebucket>": "bucket",
        "import oss2\n": "import oss2_local\n",
        "from oss2.credentials import EnvironmentVariableCredentialsProvider\n": "",
        "auth = oss2.ProviderAuth(EnvironmentVariableCredentialsProvider())\n": "",
        "oss2.Bucket(auth, 'http://oss-cn-hangzhou.aliyuncs.com', 'bucket')": "oss2_local.Bucket()",
    }.items():
        text = text.replace(old, new)
    assert "<" not in re.sub(r"[<>]=?\s", "", text), "a placeholder was left"
    return text


def s3_env(server: S3Server) -> dict[str, str]:
    return {
        "EASEL_S3_ENDPOINT": server.endpoint,
        "EASEL_S3_ACCESS_KEY": server.access_key,
        "EASEL_S3_SECRET_KEY": server.secret_key,
        "EASEL_S3_BUCKET": "pictures",
    }


@pytest.mark.parametrize("storage", ["data directory", "S3"])
def test_the_guides_programs(tmp_path: Path, sdk_python: Path, s3_server: S3Server, storage: str) -> None:
    client_env = {"PYTHONPATH": str(GUIDE), "STORE_DIR": str(tmp_path / "data")}
    if storage == "S3":
        client_env |= {
            "S3_ENDPOINT": s3_server.endpoint,
            "S3_KEYS": f"{s3_server.access_key},{s3_server.secret_key}",
            "S3_BUCKET": "pictures",
        }
    server_env = s3_env(s3_server) if storage == "S3" else {}
    # The guide's pictures are 512 x 512, which takes the shipped model a while on a CPU; what they show is
    # no matter here.
    build_random_checkpoint(tmp_path / "data/models/Stable-diffusion/quick")
    with running(tmp_path / "data", token=TOKEN, **server_env) as easel:
        work = tmp_path / "client"
        work.mkdir()
        sender = subprocess.run(
            [str(sdk_python), "-c", program("send", easel)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert sender.returncode == 0, sender.stdout + sender.stderr
        assert [line for line in sender.stdout.splitlines() if line.startswith("send")] == [
            f"send {prompt} success, index is b'{index}'"
            for index, prompt in enumerate(
                ["cute dog", "cute cat", "cute girl", "cute dog", "cute cat"] * 2, 1
            )
        ]

        watcher = subprocess.Popen(
            [str(sdk_python), "-u", "-c", program("watch", easel)],
            cwd=work,
            env=client_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        kill = threading.Timer(200, watcher.kill)  # the program itself never ends
        kill.start()
        lines: list[str] = []
        seen: dict[str, str] = {}
        try:
            assert watcher.stdout
            index_of: dict[str, str] = {}
            for line in watcher.stdout:
                lines.append(line)
                if match := re.match(r"index (\d+) task_id is (\S+)", line):
                    index_of[match[1]] = match[2]
                if match := re.match(r"save (\S+) to (\d+)-output-0\.png", line):
                    seen[index_of[match[2]]] = match[1]
                if match := re.match(r"index (\d+) process data error", line):
                    seen[index_of[match[1]]] = "error"
                if len(seen) == 10:
                    break
            # Every item was committed before it was saved, so nothing may be left now.
            assert easel.attributes("sink")["stream.length"] == "0"
        finally:
            kill.cancel()
            watcher.kill()
            watcher.wait()

        assert set(seen) == {f"txt2img_{n}" for n in range(5)} | {f"img2img_{n}" for n in range(5)}, "".join(
            lines
        )
        for number in range(5):
            url = seen[f"txt2img_{number}"]
            pattern = (
                r"oss://bucket/aohai-singapore/outputs/txt2img/txt2img-images/\d{4}-\d\d-\d\d/"
                r"\d{6}-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}-\d+\.png"
            )
            assert re.fullmatch(pattern, url), url
        pictures = sorted(work.glob("*-output-0.png"))
        assert len(pictures) == 5
        for path in pictures:
            assert Image.open(path).size == (512, 512)
        assert easel.attributes("in")["stream.length"] == "0"
        local = list((easel.data_dir / "outputs").rglob("*.png"))
        assert len(local) == (0 if storage == "S3" else 5), "pictures are in one place only"


def test_presigned_urls_open_without_a_key(tmp_path: Path, s3_server: S3Server) -> None:
    with running(tmp_path / "data", **s3_env(s3_server)) as easel:
        options = {"save_dir": "tmp/outputs", "presigned_url": True}
        body = {
            "prompt": "x",
            "steps": 2,
            "width": 64,
            "height": 64,
            "n_iter": 2,
            "alwayson_scripts": options,
        }
        parameters = easel.http.post("/sdapi/v1/txt2img", json=body).json()["parameters"]
        urls = parameters["image_presigned_url"].split(",")
        paths = parameters["image_url"].split(",")
        assert len(urls) == len(paths) == 3, "grid and two images"
        for url, path in zip(urls, paths, strict=True):
            assert path.startswith("tmp/outputs/txt2img-")
            assert path in url
            opened = httpx.get(url)
            assert opened.status_code == 200
            assert opened.headers["content-type"] == "image/png"
            assert Image.open(io.BytesIO(opened.content)).format == "PNG"
        assert httpx.get(urls[0].replace("Expires=", "Expires=9")).status_code in {400, 403}, (
            "signed as it is"
        )

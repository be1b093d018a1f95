"""``easel``: the command line. Flags are EASEL_* variables in another dress, and win over them."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

_FLAGS = {
    "host": "EASEL_HOST",
    "port": "EASEL_PORT",
    "data_dir": "EASEL_DATA_DIR",
    "workers": "EASEL_WORKERS",
    "service": "EASEL_SERVICE",
    "redis_url": "EASEL_REDIS_URL",
    "device": "EASEL_DEVICE",
}
"""Attribute of the parsed arguments -> the variable it stands for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (2: wrong usage or settings)."""
    args = _parser().parse_args(argv)
    for name, variable in _FLAGS.items():
        value = getattr(args, name, None)
        if value is not None:
            os.environ[variable] = value
    try:
        return int(_COMMANDS[args.command]())
    except KeyboardInterrupt:
        return 130


def _up() -> int:
    from easel_contract.settings import load
    from easel_gateway.cli.settings import UpSettings
    from easel_gateway.cli.up import run_up

    return run_up(load(UpSettings))


def _gateway() -> int:
    return _become("easel_gateway")


def _worker() -> int:
    # By name only: the gateway's packages do not import the worker's, which may not be installed here.
    return _become("easel_worker")


def _doctor() -> int:
    from easel_contract.settings import load
    from easel_gateway.cli.doctor import run_doctor
    from easel_gateway.cli.settings import UpSettings

    return run_doctor(load(UpSettings))


def _version() -> int:
    try:
        number = version("easel")
    except PackageNotFoundError:
        number = "not installed"
    print(f"easel {number}")
    return 0


def _become(package: str) -> int:
    """Replace this process, so that signals and exit status are the part's own."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", package])  # noqa: S606 - no shell is wanted


_COMMANDS = {"up": _up, "gateway": _gateway, "worker": _worker, "doctor": _doctor, "version": _version}


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data-dir", metavar="DIR", help="models, pictures and the queue's files (default: data)"
    )
    common.add_argument("--service", metavar="NAME", help="name of this deployment (default: easel)")
    common.add_argument(
        "--redis-url", metavar="URL", help="use this Redis (EASEL_REDIS_URL keeps it out of `ps`)"
    )
    listen = argparse.ArgumentParser(add_help=False)
    listen.add_argument("--host", help="address to listen on (default: 127.0.0.1; others need EASEL_TOKENS)")
    listen.add_argument("--port", metavar="N", help="port to listen on (default: 8000; 0: any free one)")
    device = argparse.ArgumentParser(add_help=False)
    device.add_argument("--device", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser = argparse.ArgumentParser(
        prog="easel",
        description="Self-hosted Stable Diffusion service.",
        epilog="Every setting is an EASEL_* variable too; docs/operations.md lists them. Flags win.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser(
        "up", parents=[common, listen, device], help="run everything on this machine until Ctrl-C"
    )
    up.add_argument("--workers", metavar="N", help="worker processes (default: 1)")
    commands.add_parser("gateway", parents=[common, listen], help="run the gateway alone")
    commands.add_parser("worker", parents=[common, device], help="run one worker alone")
    commands.add_parser(
        "doctor", parents=[common, listen, device], help="check everything and say what to do about it"
    )
    commands.add_parser("version", help="print the version")
    return parser


if __name__ == "__main__":
    sys.exit(main())

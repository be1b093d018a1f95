"""Real servers for tests and benchmarks of replication: a master with replicas and sentinels, and a cluster.

Everything on loopback, with passwords, and with time-outs of half a second where operators have seconds.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from easel_queue import embedded

MASTER = "mymaster"
NOTICE_MS = 500
"""After this long without a word a master counts as dead."""
PATIENCE_S = 60.0


def until(what: str, holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Return once `holds`; servers have no other way to say that they have agreed on something."""
    deadline = time.monotonic() + patience_s
    while True:
        with suppress(redis.RedisError, OSError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise TimeoutError(f"never came: {what}")
        time.sleep(0.02)


@dataclass
class Server:
    """One valkey-server (or redis-server): a data server, a cluster's node or a sentinel."""

    folder: Path
    password: str
    lines: Sequence[str] = ()
    sentinel: bool = False
    port: int = field(default_factory=embedded.free_port)
    bus: int = field(default_factory=embedded.free_port)
    """Where a cluster's nodes talk. Not 10,000 above the port, as usual: that may be beyond the last one."""
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        again = (self.folder / "server.conf").exists()
        for _ in range(20):
            if self._launch():
                return self
            if not again:  # somebody was faster at the port; one that was here before comes back to its own
                self.port, self.bus = embedded.free_port(), embedded.free_port()
                (self.folder / "server.conf").unlink()
        raise RuntimeError((self.folder / "server.log").read_text())

    def _launch(self) -> bool:
        """Start the process; False if it ends before it answers."""
        config = self.folder / "server.conf"
        if not config.exists():  # sentinels and replicas write what they learned into theirs
            config.write_text(self._configuration())
        mode = ["--sentinel"] if self.sentinel else []
        command = [str(embedded.find_server().path), str(config), *mode]
        with (self.folder / "server.log").open("ab") as log:
            process = self.process = subprocess.Popen(command, stdout=log, stderr=log)
        with self.client() as client:
            until("an answer", lambda: process.poll() is not None or bool(client.ping()), 30)
        return process.poll() is None

    def _configuration(self) -> str:
        if self.sentinel:
            own = [f"port {self.port}", "bind 127.0.0.1", f'dir "{self.folder}"', "protected-mode no"]
            text = "\n".join([*own, f"requirepass {self.password}"]) + "\n"
        else:
            text = embedded.configuration(
                port=self.port, password=self.password, data_dir=self.folder, fsync="everysec"
            )
            text += f"masterauth {self.password}\nrepl-diskless-sync-delay 0\n"
            text += f"cluster-port {self.bus}\n"
        return text + "\n".join(self.lines) + "\n"

    def client(self) -> redis.Redis:
        """A plain client of this server alone."""
        return redis.Redis(port=self.port, password=self.password, socket_timeout=5, retry=None)

    @property
    def url(self) -> str:
        return embedded.url(port=self.port, password=self.password)

    @property
    def node(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """`kill -9`."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP is a network that swallows everything, SIGCONT its end."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Watched:
    """A master, its replicas, and the sentinels that watch it."""

    data: list[Server]
    sentinels: list[Server]

    @property
    def url(self) -> str:
        """Easel's address of it."""
        hosts = ",".join(sentinel.node for sentinel in self.sentinels)
        secret = f"sentinel_password={self.sentinels[0].password}"
        return f"redis+sentinel://:{self.data[0].password}@{hosts}/{MASTER}/0?{secret}&socket_timeout=2"

    @property
    def master(self) -> Server:
        """Whom the first sentinel takes for the master."""
        with self.sentinels[0].client() as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)
        return next(server for server in self.data if server.port == int(port))

    def replicas(self) -> list[Server]:
        master = self.master
        return [server for server in self.data if server is not master]

    def wait_promoted(self, old: Server) -> Server:
        """The new master, once it is one."""
        until("a failover", lambda: self.master is not old and _role(self.master) == "master")
        return self.master

    def bring_back(self, old: Server) -> None:
        """Start a master that died as a replica of its successor: sentinels take ten seconds to do that."""
        old.start()
        with old.client() as client:
            client.execute_command("REPLICAOF", "127.0.0.1", self.master.port)
        self.wait_replicating()

    def wait_replicating(self, replicas: int = 1) -> None:
        """Return once so many replicas have what the master writes and the sentinels know each of them."""
        until("replicas", lambda: _online(self.master) >= replicas)
        # Online is what the master calls a replica that was sent everything; it may still be loading it.
        until("a confirmed write", lambda: _confirms(self.master, replicas))
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                until("sentinels that know everything", lambda c=client: _knows(c, self, replicas))  # type: ignore[misc]


@contextmanager
def watched(
    folder: Path, *, replicas: int = 1, sentinels: int = 3, lines: Sequence[str] = ()
) -> Iterator[Watched]:
    """A master with replicas under sentinels, all in agreement."""
    password, secret = embedded.new_password(), embedded.new_password()
    servers: list[Server] = []

    def begin(server: Server) -> Server:
        servers.append(server)
        return server.start()

    try:
        master = begin(Server(folder / "data-0", password, lines))
        follow = f"replicaof 127.0.0.1 {master.port}"
        data = [master]
        data += [begin(Server(folder / f"data-{n + 1}", password, (*lines, follow))) for n in range(replicas)]
        monitor = (
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} {sentinels // 2 + 1}",
            f"sentinel auth-pass {MASTER} {password}",
            f"sentinel down-after-milliseconds {MASTER} {NOTICE_MS}",
            f"sentinel failover-timeout {MASTER} 3000",
            f"sentinel sentinel-pass {secret}",
        )
        watching = [
            begin(Server(folder / f"sentinel-{n}", secret, monitor, sentinel=True)) for n in range(sentinels)
        ]
        setup = Watched(data, watching)
        setup.wait_replicating(replicas)
        yield setup
    finally:
        for server in servers:
            server.stop()


@dataclass
class Cluster:
    """Three masters that own a third of the slots each, and what else was asked for."""

    nodes: list[Server]

    @property
    def url(self) -> str:
        """Easel's address of it; the first node is left out, it has to be learned."""
        hosts = ",".join(node.node for node in self.nodes[1:3])
        return f"redis+cluster://:{self.nodes[0].password}@{hosts}?socket_timeout=2"

    def owner(self, slot: int, *, asking: Server | None = None) -> Server:
        """Who owns `slot`, in the eyes of one node."""
        with (asking or self.alive()[0]).client() as client:
            for first, last, owner, *_ in client.execute_command("CLUSTER", "SLOTS"):
                if first <= slot <= last:
                    return next(node for node in self.nodes if node.port == owner[1])
        raise LookupError(f"nobody owns slot {slot}")

    def alive(self) -> list[Server]:
        return [node for node in self.nodes if node.process is not None and node.process.poll() is None]

    def add_replica(self, folder: Path, master: Server) -> Server:
        """One more node that follows `master`; in the cluster and in step when this returns."""
        replica = Server(folder, master.password, _CLUSTER)
        self.nodes.append(replica)
        replica.start()
        _meet(replica, master)
        with replica.client() as client, master.client() as owner:
            name = owner.execute_command("CLUSTER", "MYID").decode()

            def follows() -> bool:
                client.execute_command("CLUSTER", "REPLICATE", name)
                return True

            until("a node that knows its master", follows)
            until("a replica in step", lambda: client.info("replication")["master_link_status"] == "up")
        until(
            "everybody knows the replica",
            lambda: all(_knows_nodes(node, len(self.nodes)) for node in self.alive()),
        )
        return replica

    def wait_promoted(self, slot: int, old: Server) -> Server:
        """The new owner of `slot`, once every living node sees it."""

        def moved() -> bool:
            return all(self.owner(slot, asking=node) is not old for node in self.alive() if node is not old)

        until("a failover", moved)
        return self.owner(slot, asking=next(node for node in self.alive() if node is not old))


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A Redis Cluster of three masters."""
    password = embedded.new_password()
    nodes = [Server(folder / f"node-{n}", password, _CLUSTER) for n in range(3)]
    setup = Cluster(nodes)
    bounds = [(0, 5460), (5461, 10922), (10923, 16383)]
    try:
        for node, (first, last) in zip(nodes, bounds, strict=True):
            node.start()
            with node.client() as client:
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
            _meet(node, nodes[0])
        for node in nodes:
            until("a cluster", lambda node=node: _knows_nodes(node, 3))  # type: ignore[misc]
        yield setup
    finally:
        for node in setup.nodes:
            node.stop()


_CLUSTER = (
    "cluster-enabled yes",
    "cluster-config-file nodes.conf",
    f"cluster-node-timeout {NOTICE_MS}",
    "cluster-replica-validity-factor 0",
)


def _meet(node: Server, other: Server) -> None:
    with node.client() as client:
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", other.port, other.bus)


def _role(server: Server) -> str:
    with server.client() as client:
        return str(client.info("replication")["role"])


def _online(server: Server) -> int:
    with server.client() as client:
        info: dict[str, Any] = client.info("replication")
    return sum(
        1
        for name, value in info.items()
        if name.startswith("slave") and isinstance(value, dict) and value["state"] == "online"
    )


def _confirms(server: Server, replicas: int) -> bool:
    with server.client() as client:
        client.set("confirmed", "")
        return int(client.wait(replicas, 1000)) >= replicas


def _knows(sentinel: redis.Redis, setup: Watched, replicas: int) -> bool:
    reply = sentinel.execute_command("SENTINEL", "MASTER", MASTER)
    pairs = reply.items() if isinstance(reply, dict) else zip(reply[::2], reply[1::2], strict=True)
    state = {name.decode(): value.decode() for name, value in pairs}
    return (
        state["flags"] == "master"
        and int(state["num-slaves"]) >= replicas
        and int(state["num-other-sentinels"]) == len(setup.sentinels) - 1
    )


def _knows_nodes(node: Server, count: int) -> bool:
    with node.client() as client:
        info = client.execute_command("CLUSTER", "INFO")
        text = info.decode() if isinstance(info, bytes) else str(info)
        fields = info if isinstance(info, dict) else dict(line.split(":", 1) for line in text.split())
    return fields["cluster_state"] == "ok" and int(fields["cluster_known_nodes"]) == count

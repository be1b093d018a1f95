"""A TCP proxy that lets a request through and cuts the connection in place of its answer."""

from __future__ import annotations

import socket
import threading
from types import TracebackType

from .service import WAIT_S


class CuttingProxy:
    """Cuts the first `cut` answers, when the server has given them; counts every connection.

    `endpoint` is where clients go.
    """

    def __init__(self, address: str, cut: int = 0) -> None:
        host, port = address.rsplit(":", 1)
        self._upstream = (host, int(port))
        self._left = cut
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            server = socket.create_connection(self._upstream, timeout=WAIT_S)
            for work, ends in ((_pass_on, (client, server)), (self._answer, (server, client))):
                threading.Thread(target=work, args=ends, daemon=True).start()

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        """Pass answers on; the first bytes of one that is to be cut end both connections instead."""
        _pass_on(server, client, self._cuts)

    def _cuts(self) -> bool:
        self._left -= 1
        return self._left >= 0


def _pass_on(source: socket.socket, target: socket.socket, cuts: object = None) -> None:
    with source, target:
        try:
            while received := source.recv(65536):
                if callable(cuts) and cuts():
                    break
                target.sendall(received)
        except OSError:
            pass  # the other direction has ended both
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

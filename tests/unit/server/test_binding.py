"""Servers that start at once at the same unix sockets."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import zmq

from flame_kernel.errors import AddressInUse
from flame_kernel.security.folders import Folders
from flame_kernel.security.keys import KeyPair
from flame_kernel.server import main
from flame_kernel.server.audit import Audit
from flame_kernel.server.config import ServerConfig
from tests.integration.servers import short_folder


def test_of_servers_that_start_at_once_the_first_has_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    both_look = threading.Barrier(2)
    answers = main._answers

    def look_together(path: Path) -> bool:
        there = answers(path)
        try:
            both_look.wait(0.2)  # neither goes on before the other has looked, if they may look at once
        except threading.BrokenBarrierError:
            both_look.reset()
        return there

    monkeypatch.setattr(main, "_answers", look_together)
    with short_folder() as folder:
        run = folder / "run"
        run.mkdir(mode=0o700)
        config = ServerConfig(
            Folders(folder, folder, run), port=None, socket=run / "s", keyed_socket=run / "k", until_idle=True
        )
        keys = KeyPair.generate()

        def start(context: zmq.Context[Any]) -> list[Any]:
            try:
                bound, _ = main._bind(context, config, keys, Audit(lambda record: None, lambda: 0.0))
            except AddressInUse:
                context.destroy(0)  # as a server does that ends
                return []
            return bound

        contexts: list[zmq.Context[Any]] = [zmq.Context(), zmq.Context()]
        try:
            with ThreadPoolExecutor(2) as pool:
                started = list(pool.map(start, contexts))
            assert sorted(map(len, started)) == [0, 2]
            assert answers(run / "s")
            assert answers(run / "k")
        finally:
            for context in contexts:
                context.destroy(0)

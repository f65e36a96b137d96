"""Ports for servers that are to be found at a known place, and again after a restart."""

from __future__ import annotations

import itertools
import os
import random
import socket

# Below what Linux gives to outgoing connections (32768 on): any of those could take a port while its server restarts.
_PORTS = range(12_000, 32_000)
_WORKERS = 16
_SHARE = len(_PORTS) // _WORKERS

_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
_start = random.randrange(_SHARE)  # two runs on one machine seldom meet
_mine = itertools.cycle(_PORTS[_worker * _SHARE + (_start + number) % _SHARE] for number in range(_SHARE))


def free_port() -> int:
    """Return a TCP port that nobody listens at, another one each time, which no other worker of this run is given."""
    for port in itertools.islice(_mine, _SHARE):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError("no port is free")

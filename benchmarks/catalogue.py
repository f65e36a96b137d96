"""Who takes part."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Literal

from benchmarks.peer import Peer

Kind = Literal["ours", "floor", "peer"]

OURS = "flame"
FLOOR = "pyzmq-curve"


@dataclass(frozen=True)
class Entry:
    """One that takes part.

    Attributes:
        key: Its name on the command line and in the results.
        title: Its name in tables.
        kind: Whether it is Remote Flame, a floor (what the sockets cost when nothing is done but the work), or a peer.
        adapter: ``module:callable``, which returns the adapter.
    """

    key: str
    title: str
    kind: Kind
    adapter: str

    def load(self) -> Peer:
        """Import the adapter, and with it the peer's own package."""
        module, _, name = self.adapter.partition(":")
        made: Peer = getattr(importlib.import_module(f"benchmarks.peers.{module}"), name)()
        return made


CATALOGUE = tuple(
    Entry(*fields)
    for fields in (
        ("flame", "Remote Flame", "ours", "flame:over_tcp"),
        ("flame-unix", "Remote Flame, unix socket", "ours", "flame:over_unix_socket"),
        ("pyzmq-curve", "pyzmq with CURVE", "floor", "pyzmq:encrypted"),
        ("pyzmq", "pyzmq, not encrypted", "floor", "pyzmq:unencrypted"),
        ("rpyc", "RPyC, tuned", "peer", "rpyc:RpycPeer"),
        ("pyro4", "Pyro4 Flame", "peer", "pyro4:Pyro4Peer"),
        ("pyro5", "Pyro5, msgpack", "peer", "pyro5:Pyro5Peer"),
        ("execnet", "execnet", "peer", "execnet:ExecnetPeer"),
        ("zerorpc", "zerorpc", "peer", "zerorpc:ZerorpcPeer"),
        ("ipyparallel", "ipyparallel", "peer", "ipyparallel:IpyparallelPeer"),
        ("dask", "Dask", "peer", "dask:DaskPeer"),
        ("ipykernel", "ipykernel through jupyter_client", "peer", "ipykernel:IpykernelPeer"),
    )
)
BY_KEY = {entry.key: entry for entry in CATALOGUE}

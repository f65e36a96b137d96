"""Ports for the kernels that this process starts as Jupyter does.

Jupyter asks the system for free ports, lets go of them and tells them to the kernel, which binds them some time later.
Until then whatever else asks the system for a port may be given one of them, and a whole run asks often enough.
"""

from __future__ import annotations

import os
from typing import Any

from jupyter_client.connect import port_names, write_connection_file
from jupyter_client.provisioning.local_provisioner import LocalPortCache

from tests.ports import free_port


class Ports(LocalPortCache):
    """Gives kernel managers ports that the system gives to nobody by itself."""

    def find_available_port(self, ip: str) -> int:
        return free_port()


def connection_file(path: str) -> tuple[str, dict[str, Any]]:
    """Write a connection file, as Jupyter does; returns its path and what is in it."""
    ports = {name: free_port() for name in port_names}
    return write_connection_file(path, key=os.urandom(16).hex().encode(), **ports)


def be_given_to_kernels() -> None:
    """Have every kernel manager of this process take its ports from here."""
    Ports.instance()

"""How a lane gets to its worker, where that fails before anything is sent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# In a process of its own: there, nothing else opens or closes files meanwhile.
CROWDED = """
import os, resource
import zmq
from flame_kernel.client.calls.approach import Approach
from flame_kernel.client.calls.ways import Ways
from flame_kernel.errors import LimitExceeded
from flame_kernel.transport.waking import Wake
from flame_kernel.transport.interface import Endpoint

approach = Approach(zmq.Context(), Ways(Endpoint("ipc:///nowhere/s", "there")), Wake())
first = approach.connection()  # kept: what its end gives back would come back at any time
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    while True:
        os.dup(0)
except OSError:
    pass
try:
    approach.connection()
except LimitExceeded as error:
    print(error)
os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_process_without_descriptors_left_is_told_so() -> None:
    command = [sys.executable, "-u", "-c", CROWDED]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert "ulimit -n" in told.stdout

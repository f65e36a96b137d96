"""How a lane gets to its worker, where that fails before anything is sent."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
import zmq

from flame_kernel.client.calls.approach import Approach
from flame_kernel.client.calls.ways import Ways
from flame_kernel.errors import LimitExceeded
from flame_kernel.transport.blocking import Wake
from flame_kernel.transport.interface import Endpoint


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_process_without_descriptors_left_is_told_so(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wake = Wake()
    with zmq.Context() as context:
        approach = Approach(context, Ways(Endpoint(f"ipc://{tmp_path}/s", "there")), wake)
        approach.connection().close()
        last = os.dup(0)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (last, before[1]))  # all below it are in use
            with pytest.raises(LimitExceeded, match="ulimit -n"):
                approach.connection()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            os.close(last)
    wake.close()

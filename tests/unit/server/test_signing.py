"""Which kernels are started without a signing key."""

from __future__ import annotations

from typing import Any

import pytest
from jupyter_client.kernelspec import KernelSpec

from flame_kernel.server.process import _takes_unsigned

IPYKERNEL = ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
ELSEWHERE = {"kernel_provisioner": {"provisioner_name": "cluster-provisioner"}}


@pytest.mark.parametrize(
    ("argv", "metadata", "unsigned"),
    [
        (IPYKERNEL, {}, True),
        (["python", "-m", "ipykernel", "-f", "{connection_file}"], {"debugger": True}, True),
        (IPYKERNEL, ELSEWHERE, False),
        (["python", "-m", "bash_kernel", "-f", "{connection_file}"], {}, False),
        (["xpython", "-f", "{connection_file}"], {}, False),
        (["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"], {}, False),
    ],
)
def test_only_ipykernel_on_this_host_does_without_signatures(
    argv: list[str], metadata: dict[str, Any], unsigned: bool
) -> None:
    assert _takes_unsigned(KernelSpec(argv=argv, metadata=metadata)) is unsigned


def test_a_kernel_that_is_not_known_signs() -> None:
    assert not _takes_unsigned(None)

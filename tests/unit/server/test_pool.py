"""Warm kernels, where there are none to be had."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flame_kernel.errors import UnknownKernel
from flame_kernel.server import pool as pool_module
from flame_kernel.server.kernel import Kernel
from flame_kernel.server.pool import WarmPool


async def test_a_kernel_that_nobody_has_is_not_kept_warm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_CALM_S", 0)
    asked: asyncio.Queue[str] = asyncio.Queue()
    complaints: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))

    def make(kernelspec: str) -> Kernel:
        asked.put_nowait(kernelspec)
        raise UnknownKernel(kernelspec)

    pool = WarmPool(make, "python3", 1)
    assert await pool.take("cobol") is None
    assert await asyncio.wait_for(asked.get(), 30) == "cobol"
    assert pool._refilling is not None
    await asyncio.wait({pool._refilling})

    assert pool._refilling.exception() is None
    assert complaints == []
    await pool.close()

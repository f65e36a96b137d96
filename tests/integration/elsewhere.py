"""A kernel provisioner as a site might have one: it knows kernels by job numbers, and reaches them by TCP.

It's loaded by servers that the tests start, through an entry point that a test makes; nothing of ours is imported here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.provisioning import KernelProvisionerBase
from traitlets import Unicode

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class Elsewhere(KernelProvisionerBase):
    """Knows a kernel by its job number alone; the process is no child that anybody could ask for."""

    queue = Unicode("", config=True)  # from the kernelspec
    job = 0

    @property
    def has_process(self) -> bool:
        return self.job != 0

    async def poll(self) -> int | None:
        try:
            process = psutil.Process(self.job)
            return None if process.status() != psutil.STATUS_ZOMBIE else 0
        except psutil.Error:
            return 0

    async def wait(self) -> int | None:
        while await self.poll() is None:  # noqa: ASYNC110  # as jupyter_client's own does
            await asyncio.sleep(0.02)
        self.job = 0
        return None

    async def send_signal(self, signum: int) -> None:
        if signum and self.job:
            os.kill(self.job, signum)

    async def kill(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        await self.send_signal(signal.SIGTERM)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        kwargs = await super().pre_launch(**kwargs)
        kwargs["cmd"] = self.kernel_spec.argv
        return kwargs

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> dict[str, Any]:
        key = secrets.token_hex(16)
        info: dict[str, Any] = {"transport": "tcp", "ip": "127.0.0.1", "key": key, "signature_scheme": "hmac-sha256"}
        info |= dict.fromkeys(PORTS, 0)  # the kernel takes free ones, and writes down which
        path = Path(kwargs["cwd"], f"job-{key}.json")
        path.write_text(json.dumps(info))  # noqa: ASYNC240  # a moment
        command = [str(path) if part == "{connection_file}" else part for part in cmd]
        environ = {**kwargs["env"], "QUEUE": self.queue}
        shell = ["sh", "-c", '"$@" >/dev/null 2>&1 & echo $!', "sh", *command]  # its parent does not stay
        told = subprocess.check_output(shell, env=environ, cwd=kwargs["cwd"], start_new_session=True)  # noqa: ASYNC221
        self.job = int(told)
        while await self.poll() is None and not all(info[name] for name in PORTS):
            await asyncio.sleep(0.02)
            with contextlib.suppress(json.JSONDecodeError, FileNotFoundError):  # it's being removed and written anew
                info |= json.loads(path.read_text())  # noqa: ASYNC240  # as above
        self.connection_info = {**info, "key": key.encode()}
        return self.connection_info

    async def cleanup(self, restart: bool = False) -> None:
        pass

    async def get_provisioner_info(self) -> dict[str, Any]:
        return {**await super().get_provisioner_info(), "job": self.job}

    async def load_provisioner_info(self, provisioner_info: dict[str, Any]) -> None:
        await super().load_provisioner_info(provisioner_info)
        self.job = provisioner_info["job"]

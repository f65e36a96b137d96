"""From a process that was just started to a kernel that is ready: its channels are live and the worker is loaded."""

from __future__ import annotations

import asyncio
import logging
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flame_kernel.errors import KernelStartFailed
from flame_kernel.server import bootstrap
from flame_kernel.server.questions import Questions

log = logging.getLogger(__name__)

# A kernel that subscribes us too late does not tell on iopub what it did for a request; then it's asked again.
_ASK_AGAIN_S = 0.5


@dataclass(frozen=True)
class KernelFacts:
    """What is known of a kernel once it's up.

    Attributes:
        language: Its language, such as ``python``.
        calls: Whether the worker is loaded, so that it answers calls.
        versions: Those of Python and of packages whose values cross.
    """

    language: str
    calls: bool
    versions: dict[str, str] = field(default_factory=dict)


async def run(
    questions: Questions, worker_address: str, record: Path, leavings: str, transfers: int, *, elsewhere: bool = False
) -> KernelFacts:
    """Wait until a kernel answers on all channels, then load the worker if it's Python.

    Args:
        questions: Asks the kernel.
        worker_address: Where its worker shall wait for calls.
        record: The file without which the process ends with this one.
        leavings: The files to remove with it, as a pattern.
        transfers: How many may copy files in it at a time.
        elsewhere: Whether it may run where neither this package nor the worker's socket is; then it runs cells alone.

    Returns:
        What is known of it.

    Raises:
        KernelStartFailed: The worker could not be loaded.
    """
    language = await _greet(questions)
    if language != "python":
        return KernelFacts(language, calls=False)
    try:
        load = bootstrap.load(worker_address, record, leavings, transfers)
        versions = bootstrap.told(await _silently(questions, load, bootstrap.VERSIONS)) or {}
        calls = not elsewhere or await asyncio.to_thread(_listens, worker_address)
    except KernelStartFailed as error:
        if not elsewhere:
            raise
        log.info("a kernel that a provisioner has placed answers no calls: %s", error)
        return KernelFacts(language, calls=False)
    return KernelFacts(language, calls=calls, versions=versions)


def _listens(worker_address: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(worker_address.removeprefix("ipc://"))
        except OSError:  # also if the file can be seen from here, on a file system that both hosts share
            return False
    return True


async def move(questions: Questions, folder: Path) -> None:
    """Let a Python kernel work in another folder from now on.

    Args:
        questions: Asks the kernel.
        folder: The folder.

    Raises:
        KernelStartFailed: It could not be done.
    """
    await _silently(questions, bootstrap.move(folder))


def silent(code: str, expressions: dict[str, str] | None = None) -> dict[str, object]:
    """Return the content of a request that runs code and leaves no trace.

    Args:
        code: What to run.
        expressions: What to evaluate afterwards, by the names that the reply gives the values.
    """
    options = {"silent": True, "store_history": False, "allow_stdin": False}
    return {"code": code, "user_expressions": expressions or {}, **options}


async def _greet(questions: Questions) -> str:
    while True:
        try:
            reply = await asyncio.wait_for(questions.ask("kernel_info_request", {}), _ASK_AGAIN_S)
        except TimeoutError:
            continue
        return str(reply.content().get("language_info", {}).get("name", ""))


async def _silently(questions: Questions, code: str, expression: str = "None") -> dict[str, Any]:
    """Run code, and return what the kernel says of an expression's value afterwards."""
    reply = (await questions.ask("execute_request", silent(code, {"value": expression}))).content()
    if reply.get("status") != "ok":
        raise KernelStartFailed(f"the Flame worker could not be loaded: {reply.get('ename')}: {reply.get('evalue')}")
    value: dict[str, Any] = reply.get("user_expressions", {}).get("value", {})
    return value

"""``make bench``: what Remote Flame costs, beside what there is to compare it with, in one run.

Everything runs on this machine: the server on loopback TCP, encrypted. Rounds are interleaved and medians printed. Only
the ratios mean anything: they hold on another machine, the absolute figures don't.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

# `python benchmarks/bench.py` puts this folder on the path, not its parent.
sys.path.insert(0, str(Path(__file__).resolve().parent))

from floor import floor
from jupyter_client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel

import flame_kernel
from flame_kernel import Flame

Figures = dict[str, dict[str, list[float]]]

MEBIBYTES = 64
DATA = os.urandom(MEBIBYTES * 1024 * 1024)
SET_UP = """
import os, ipywidgets
from IPython.display import Image, display
picture = Image(data=os.urandom(5_000_000), format="png")
slider = ipywidgets.IntSlider(max=64)
"""
CELLS = {
    "10,000 printed lines": "for i in range(10_000): print(i)",
    "a picture of 5 MB": "display(picture)",
    "64 widget updates": "for i in range(64): slider.value = (slider.value + 1) % 64",
}


def timed(action: Callable[[], object], times: int = 1) -> float:
    """Return the median time of an action, in seconds."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        action()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


@contextmanager
def server(home: Path) -> Iterator[str]:
    """Run a Flame server; gives its address, paired."""
    os.environ["FLAME_HOME"] = str(home)
    command = [sys.executable, "-m", "flame_kernel", "serve", "--enable", "-p", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        invite = next(line for line in process.stdout if line.startswith("invite")).split(": ", 1)[1].strip()
        with flame_kernel.connect(invite):  # pairs this client
            yield invite.removeprefix("flame://").partition("/")[0]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def kernel(name: str) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    """Run a Jupyter kernel, as nbclient does."""
    manager, client = start_new_kernel(kernel_name=name)
    try:
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel()


def cell(client: BlockingKernelClient, code: str) -> None:
    """Run a cell to its reply and idle status."""
    client.execute_interactive(code, output_hook=lambda message: None, timeout=60)


def first_reply(name: str) -> None:
    """Start a kernel, see its first result, end it."""
    with kernel(name) as (_, client):
        cell(client, "1")


def first_result(address: str, session: str | None) -> None:
    """Connect, evaluate once, and disconnect."""
    with flame_kernel.connect(address, session=session) as flame:
        flame.evaluate("1")


def measure(rounds: int, calls: int) -> Figures:
    """Measure everything, in turns."""
    figures: Figures = {}

    def note(row: str, who: str, seconds: float) -> None:
        figures.setdefault(row, {}).setdefault(who, []).append(seconds)

    # Short, because it holds unix sockets.
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flame-", ignore_cleanup_errors=True)))
        address = stack.enter_context(server(home))
        os.environ["FLAME_HOST"] = address
        bare = stack.enter_context(floor())
        flame: Flame = stack.enter_context(flame_kernel.connect(address))
        stack.enter_context(flame_kernel.connect(address, session="bench"))
        _, plain = stack.enter_context(kernel("python3"))
        _, ours = stack.enter_context(kernel("flame"))
        for client in (plain, ours):
            cell(client, SET_UP)
        for _ in range(rounds):
            note("a call, p50", "bare", timed(bare.echo, calls))
            note("a call, p50", "flame", timed(lambda: flame.evaluate("1"), calls))
            for who, client in (("plain", plain), ("flame", ours)):
                note("a `pass` cell, p50", who, timed(lambda client=client: cell(client, "pass"), calls // 10))
                for row, code in CELLS.items():
                    note(row, who, timed(lambda client=client, code=code: cell(client, code)))
            note(f"{MEBIBYTES} MiB there", "bare", timed(lambda: bare.put(DATA)))
            note(f"{MEBIBYTES} MiB there", "flame", timed(lambda: flame.__setitem__("data", DATA)))
            note(f"{MEBIBYTES} MiB back", "bare", timed(bare.get))
            note(f"{MEBIBYTES} MiB back", "flame", timed(lambda: flame["data"]))
            note("kernel start to first reply", "plain", timed(lambda: first_reply("python3")))
            note("kernel start to first reply", "flame", timed(lambda: first_reply("flame")))
            note("connect to first result, new session", "flame", timed(lambda: first_result(address, None)))
            note("connect to first result, named session", "flame", timed(lambda: first_result(address, "bench")))
    return figures


def table(figures: Figures) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| what | Remote Flame | beside | ratio |", "|---|---|---|---|"]
    names = {"bare": "bare pyzmq with CURVE", "plain": "plain ipykernel"}
    for row, by_whom in figures.items():
        flame = statistics.median(by_whom["flame"])
        other = next((who for who in by_whom if who != "flame"), None)
        beside = f"{shown(row, statistics.median(by_whom[other]))} ({names[other]})" if other else ""
        ratio = f"{flame / statistics.median(by_whom[other]):.2f}" if other else ""
        lines.append(f"| {row} | {shown(row, flame)} | {beside} | {ratio} |")
    return "\n".join(lines)


def shown(row: str, seconds: float) -> str:
    """Return a time in the unit that suits it; for bulk data with its rate."""
    if "MiB" in row:
        return f"{seconds * 1e3:.0f} ms, {MEBIBYTES * 1.048576 / seconds:.0f} MB/s"
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.002 else f"{seconds * 1e3:.1f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure Remote Flame beside a plain kernel and bare pyzmq.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under a minute")
    arguments = parser.parse_args()
    rounds, calls = (2, 200) if arguments.quick else (7, 1000)
    print(table(measure(rounds, calls)))


if __name__ == "__main__":
    main()

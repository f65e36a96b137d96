"""What a session's machine is: its processors, memory, graphics cards, and the versions of what is installed."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# A driver that hangs must not keep anybody waiting, in seconds.
_PATIENCE_S = 3.0

_NVIDIA = ("nvidia-smi", "--query-gpu=name,memory.used,memory.total", "--format=csv,noheader,nounits")
_MIB = 1024 * 1024


def about(packages: Sequence[str]) -> dict[str, Any]:
    """Return what this machine and this interpreter are.

    Args:
        packages: Distributions whose versions are wanted; those that aren't installed are left out.

    Returns:
        Plain data; memory is in bytes, and ``None`` where it can't be told.

    Example:
        >>> about([])["python"].count(".")
        2
    """
    total, available = memory()
    return {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}".strip(),
        "pid": os.getpid(),
        "folder": _folder(),
        "python": platform.python_version(),
        "executable": sys.executable or "",
        "processor": processor(),
        "processors": processors(),
        "memory_total": total,
        "memory_available": available,
        "gpus": graphics_cards(),
        "packages": dict(_versions(packages)),
    }


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Return the processor's name."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()


def memory() -> tuple[int | None, int | None]:
    """Return how much memory the machine has, and how much of it can be had, in bytes."""
    with suppress(ImportError):  # ipykernel brings it
        found = import_module("psutil").virtual_memory()
        return int(found.total), int(found.available)
    with suppress(OSError, ValueError, KeyError), open("/proc/meminfo", encoding="ascii") as lines:
        fields = dict(line.split(":", 1) for line in lines)
        return _kib(fields["MemTotal"]), _kib(fields["MemAvailable"])
    return None, None


def graphics_cards() -> list[dict[str, Any]]:
    """Return the graphics cards that ``nvidia-smi`` knows: name, memory that is used and in all, in bytes."""
    program = shutil.which(_NVIDIA[0])
    if program is None:
        return []
    try:
        told = subprocess.run(
            [program, *_NVIDIA[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # installed, but there's no card, or the driver is broken
        return []
    return read_cards(told.stdout)


def read_cards(told: str) -> list[dict[str, Any]]:
    """Read what ``nvidia-smi`` tells; figures that a card does not give are ``None``.

    Example:
        >>> read_cards("NVIDIA A100-SXM4-40GB, 1024, 40960")
        [{'name': 'NVIDIA A100-SXM4-40GB', 'memory_used': 1073741824, 'memory_total': 42949672960}]
    """
    cards = []
    for line in told.splitlines():
        name, *figures = (field.strip() for field in line.rsplit(",", 2))
        if name and len(figures) == 2:
            used, total = (int(figure) * _MIB if figure.isdecimal() else None for figure in figures)
            cards.append({"name": name, "memory_used": used, "memory_total": total})
    return cards


def _kib(text: str) -> int:
    return int(text.split()[0]) * 1024


def _folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""


def _versions(packages: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for name in packages:
        with suppress(PackageNotFoundError, ValueError):
            found.append((name, version(name)))
    return found

"""How much memory a process and all that it has started use."""

from __future__ import annotations

from contextlib import suppress

import psutil


def of_tree(pid: int) -> int | None:
    """Return the resident memory of a process and its descendants together.

    What they share counts for each of them. It asks the system about each process, so it is nothing for an event loop.

    Args:
        pid: The process; 0 when it is not known.

    Returns:
        How much, in bytes; ``None`` when the process is gone or not known.
    """
    if not pid:
        return None
    try:
        root = psutil.Process(pid)
        processes = [root, *root.children(recursive=True)]
        total = int(root.memory_info().rss)
    except psutil.Error:
        return None
    for process in processes[1:]:
        with suppress(psutil.Error):  # it has ended meanwhile
            total += process.memory_info().rss
    return total


def end_tree(pid: int) -> None:
    """Kill a process and its descendants."""
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                process.kill()

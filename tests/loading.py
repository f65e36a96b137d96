"""Which modules a piece of code loads, in a process of its own."""

from __future__ import annotations

import subprocess
import sys


def loaded_by(code: str) -> set[str]:
    """Run code that prints the names of the modules that are loaded, and return them.

    The environment's own hooks, such as those that measure coverage, stay out of it.
    """
    command = [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; " + code]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())

"""A process that another one has started, in the place of jupyter_client's own ``Popen`` object."""

from __future__ import annotations

from contextlib import suppress

import psutil


class AdoptedProcess:
    """A living process that is no child of ours; how it ends can't be known, only that it does.

    Args:
        pid: Its process id.
        born: When the system started it, in seconds since the epoch.

    Raises:
        ProcessLookupError: There is no such process any more; its number may be another's.
    """

    stdin = stdout = stderr = None
    returncode = None

    def __init__(self, pid: int, born: float) -> None:
        self.pid = pid
        try:
            self._process = psutil.Process(pid)
            alike = self._process.create_time() == born
        except psutil.Error:
            alike = False
        if not alike or self.poll() is not None:
            raise ProcessLookupError(f"process {pid} has ended")

    def poll(self) -> int | None:
        """Return ``None`` while it lives."""
        with suppress(psutil.Error):
            if self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE:
                return None
        return 0

    def wait(self) -> None:
        """Do nothing: it has ended, and its exit status is for its parent."""

    def send_signal(self, number: int) -> None:
        """Send it a signal."""
        with suppress(psutil.Error):
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it."""
        with suppress(psutil.Error):
            self._process.kill()

    terminate = kill

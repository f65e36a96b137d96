"""The audit log's file: a JSON object a line, for its owner alone, bounded, written by a thread of its own."""

from __future__ import annotations

import json
import logging
import os
import queue
from collections.abc import Callable, Mapping
from logging.handlers import QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any

from flame_kernel.security.folders import private
from flame_kernel.security.permissions import explained, require_private

MAX_BYTES = 10 * 1024 * 1024
FILES = 5

# What may wait for a slow disk, in lines; beyond it lines are lost, and their number is told.
_WAITING = 10_000


class AuditLog:
    """Writes records; whoever hands one in never waits for the disk.

    Args:
        path: The file; older ones are ``path.1`` and so on, the oldest goes.
        report: Gets a line for the server's log when the file can't be written, once.
        max_bytes: When a new file is begun, in bytes.
        files: How many files there are at most.

    Raises:
        KeyFileError: Other users can reach the file, or it can't be made.

    Example:
        ``AuditLog(folders.state / "audit.jsonl", log.warning).write({"event": "connect"})``
    """

    def __init__(
        self, path: Path, report: Callable[[str], None], max_bytes: int = MAX_BYTES, files: int = FILES
    ) -> None:
        self.path = path
        self._report = report
        self._reported = False
        self._lost = 0
        private(path.parent)
        with explained(path, "write"):
            _make(str(path))
            require_private(path, path.stat())
            handler = RotatingFileHandler(path, maxBytes=max_bytes, backupCount=files - 1, encoding="utf-8")
        handler.rotator = _rotate
        handler.handleError = self._on_error  # type: ignore[method-assign]  # the module's own way to hear of errors
        self._queue: queue.Queue[Any] = queue.Queue(_WAITING)
        self._handler = handler
        self._listener = QueueListener(self._queue, handler)
        self._listener.start()

    def write(self, record: Mapping[str, Any]) -> None:
        """Write a record, soon.

        Args:
            record: Plain data.

        Example:
            ``audit_log.write({"event": "connect", "key": "SHA256:2jmj7l5rSw0yVb/v"})``
        """
        if self._lost:
            record = {**record, "lost": self._lost}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
        try:
            self._queue.put_nowait(logging.makeLogRecord({"msg": line}))
        except queue.Full:
            self._lost += 1
            self._on_error(None)
        else:
            self._lost = 0

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._listener.stop()
        self._handler.close()

    def _on_error(self, record: logging.LogRecord | None) -> None:
        if not self._reported:
            self._reported = True
            self._report(f"the audit log {self.path} can't be written, or not fast enough; entries are missing from it")


def _make(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))


def _rotate(source: str, target: str) -> None:
    os.replace(source, target)
    _make(source)  # before the handler opens it, so that it's private from the first moment

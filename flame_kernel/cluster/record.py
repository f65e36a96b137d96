"""Where the clusters that this client began can be found again: a file for each, without secrets."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from flame_kernel.errors import ConfigurationError, SessionError
from flame_kernel.security.folders import Folders, private

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")


def require_name(name: str) -> str:
    """Return a cluster's name if it is one.

    Raises:
        ConfigurationError: It can't be the name of a file and of sessions.
    """
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is no name for a cluster; take letters, digits, '.', '_' and '-', up to 60")
    return name


def write(name: str, scheduler: str, environ: Mapping[str, str]) -> None:
    """Write down where a cluster's scheduler is."""
    path = _path(name, environ)
    private(private(path.parent.parent) / path.parent.name)
    path.write_text(json.dumps({"scheduler": scheduler}) + "\n", "utf-8")


def read(name: str, environ: Mapping[str, str]) -> str:
    """Return where a cluster's scheduler is.

    Raises:
        SessionError: This client knows no cluster of that name.
    """
    path = _path(name, environ)
    try:
        return str(json.loads(path.read_text("utf-8"))["scheduler"])
    except FileNotFoundError:
        known = ", ".join(sorted(other.stem for other in path.parent.glob("*.json"))) or "none"
        raise SessionError(
            f"this client began no cluster named {name!r}; there are: {known}; "
            "one of another machine is found with scheduler=HOST"
        ) from None


def remove(name: str, environ: Mapping[str, str]) -> None:
    """Forget a cluster."""
    _path(name, environ).unlink(missing_ok=True)


def _path(name: str, environ: Mapping[str, str]) -> Path:
    return Folders.find(environ).state / "clusters" / f"{os.path.basename(require_name(name))}.json"

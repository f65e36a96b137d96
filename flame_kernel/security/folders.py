"""Where Flame keeps its files: settings and keys, lasting state, and the sockets of what runs now."""

from __future__ import annotations

import hashlib
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flame_kernel.security.permissions import explained, require_owner, require_private

_APP = "remote-flame"

# A unix socket's path may have 103 bytes on macOS and 107 on Linux; this leaves room for the sockets' own names.
_RUNTIME_BYTES = 60


@dataclass(frozen=True)
class Folders:
    """The three folders; none of them need exist yet.

    Attributes:
        config: Keys, authorized_keys, known_hosts, the configuration file.
        state: What outlives a reboot: invites, journals, the audit log.
        runtime: Sockets of servers and sessions; its path is short enough for them.

    Example:
        >>> Folders.find({"FLAME_HOME": "/tmp/f"}).config.name
        'config'
    """

    config: Path
    state: Path
    runtime: Path

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Folders:
        """Name the folders; creates nothing.

        Args:
            environ: The environment, for ``FLAME_HOME``. (The platform's own variables, such as ``XDG_CONFIG_HOME``,
                are read by platformdirs from the process's environment.)

        Returns:
            The folders inside ``FLAME_HOME`` if it is set, else the platform's.

        Raises:
            KeyFileError: The platform has no runtime folder that this user could trust.

        Example:
            ``Folders.find(os.environ)``
        """
        home = environ.get("FLAME_HOME", "")
        if home:
            root = Path(os.path.abspath(os.path.expanduser(home)))
            return cls(root / "config", root / "state", _short(root / "run"))
        import platformdirs  # here, because a kernel's start waits for what is imported

        return cls(
            platformdirs.user_config_path(_APP, appauthor=False),
            platformdirs.user_state_path(_APP, appauthor=False),
            _short(_platform_runtime()),
        )


def private(folder: Path) -> Path:
    """Create a folder that only this user may enter, or check that an existing one is such.

    Args:
        folder: The folder; missing parents are created with the usual mode.

    Returns:
        The same folder.

    Raises:
        KeyFileError: It can't be created, belongs to another user, or others may enter it; the line says how to
            mend it.

    Example:
        ``private(folders.runtime) / "server.sock"``
    """
    with explained(folder, "create"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        link, status = folder.lstat(), folder.stat()
    # In a folder that all can write to, such as /tmp, another user may have planted a link to a folder of ours.
    require_owner(folder, link, "700")
    require_private(folder, status, "700")
    return folder


def _platform_runtime() -> Path:
    import platformdirs

    # Without a usable XDG_RUNTIME_DIR (cron, containers, su), platformdirs falls back to /run/user/UID or a temporary
    # folder, and warns. The fallback is as good: `private` checks whichever it is.
    with explained(Path("the runtime folder"), "use"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return platformdirs.user_runtime_path(_APP, appauthor=False)


def _short(runtime: Path) -> Path:
    if len(os.fsencode(runtime)) <= _RUNTIME_BYTES:
        return runtime
    owner = "user"
    if sys.platform != "win32":
        owner = str(os.getuid())
    name = f"flame-{owner}-{hashlib.blake2b(os.fsencode(runtime), digest_size=6).hexdigest()}"
    import tempfile

    short = Path(tempfile.gettempdir()) / name
    # macOS and clusters have long TMPDIRs; the short place must be short there too.
    if os.name == "posix" and len(os.fsencode(short)) > _RUNTIME_BYTES:
        return Path("/tmp") / name
    return short

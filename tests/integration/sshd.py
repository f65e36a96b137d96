"""A real sshd on the loopback interface, with keys, a port and a configuration of its own, and a far side of its own.

It runs as whoever runs the tests, and lets nobody else in. What logs in gets a FLAME_HOME and a PATH of the far side.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from flame_kernel.security.folders import private
from tests.integration.servers import PATIENCE_S, Program, clean_environ, end_all, end_sessions, until
from tests.ports import free_port

# A user who isn't root has no /usr/sbin on the PATH.
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


class Sshd:
    """An sshd, the far side that it leads to, and the configuration of a client that may log in.

    Its names in that configuration: ``far``; ``jump``, which goes through ``far``; ``stranger``, whose host key nobody
    knows and is kept nowhere; ``new``, likewise, but it's kept; ``refused``, which comes with a key that isn't
    admitted; ``shared``, for which a master may be there.

    Args:
        folder: A short folder for all of it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "s"
        self.client_home = folder / "c"
        self.bin = folder / "bin"
        self.config = folder / "config"
        self.pip_config = folder / "pip.conf"
        self.pip_config.write_text("[global]\nno-index = yes\n")
        self.port = free_port()
        self._program: Program | None = None
        assert SSHD is not None, "apt-get install openssh-server"
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        private(private(self.home) / "config")
        (self.home / "config" / "server.toml").write_text("[limits]\nwarm = 0\n")
        self.bin.mkdir()
        self.install_flame()
        for name in ("host", "id", "other"):
            self._make_key(name)
        shutil.copy(folder / "id.pub", folder / "authorized_keys")
        host_key = (folder / "host.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {' '.join(host_key)}\n")
        (folder / "sshd_config").write_text(self._server_config())
        self.config.write_text(self._client_config())

    def __enter__(self) -> Sshd:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        servers = self.servers()
        for process in servers:
            process.terminate()
        psutil.wait_procs(servers, timeout=PATIENCE_S)  # they still write down what their sessions say
        end_sessions(self.home)
        orphans = end_all(self.home)
        assert not orphans, f"processes of the far side outlived its server: {orphans}"

    def start(self) -> None:
        """Start sshd and wait until it listens."""
        assert SSHD is not None
        self._program = Program([SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")], clean_environ(self.home))
        until(self._listens)

    def stop(self) -> None:
        """End sshd, and every login with it."""
        assert self._program is not None
        for process in (*psutil.Process(self._program.process.pid).children(), self._program.process):
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                process.send_signal(signal.SIGKILL)
        self._program.kill()
        until(lambda: not self._listens())

    def install_flame(self) -> None:
        """Let the far side have remote-flame on its PATH."""
        flame = self.bin / "flame"
        flame.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flame_kernel "$@"\n')
        flame.chmod(0o755)

    @property
    def ssh(self) -> str:
        """What FLAME_SSH has to be."""
        return f"ssh -F {self.config}"

    def environ(self, **more: str) -> dict[str, str]:
        """Return the environment of a client's process."""
        return clean_environ(self.client_home, FLAME_SSH=self.ssh, **more)

    def servers(self) -> list[psutil.Process]:
        """Return the far side's Flame servers."""
        return [process for process in _processes() if self._is_server(process)]

    def clients(self) -> list[psutil.Process]:
        """Return the ssh processes of clients."""
        return [process for process in _processes() if str(self.config) in _command(process) and _is_ssh(process)]

    def cut(self) -> None:
        """Kill every ssh of a client."""
        for process in self.clients():
            with contextlib.suppress(psutil.Error):
                process.kill()

    def _is_server(self, process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error):
            return "--embedded" in process.cmdline() and process.environ().get("FLAME_HOME") == str(self.home)
        return False

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _make_key(self, name: str) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name)]
        subprocess.run(command, check=True, timeout=PATIENCE_S, stdin=subprocess.DEVNULL)

    def _server_config(self) -> str:
        return f"""\
Port {self.port}
ListenAddress 127.0.0.1
HostKey {self.folder / "host"}
AuthorizedKeysFile {self.folder / "authorized_keys"}
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel ERROR
SetEnv FLAME_HOME={self.home} PATH={self.bin}:/usr/bin:/bin PIP_CONFIG_FILE={self.pip_config} PIP_NO_COMPILE=1
"""

    def _client_config(self) -> str:
        return f"""\
Host new
  UserKnownHostsFile {self.folder / "new_hosts"}
Host stranger
  UserKnownHostsFile /dev/null
Host refused
  IdentityFile {self.folder / "other"}
Host jump
  ProxyJump far
Host * !refused
  IdentityFile {self.folder / "id"}
Host shared
  ControlPath {self.folder / "ctl"}
Host far jump stranger refused new shared
  HostName 127.0.0.1
  Port {self.port}
  User {getpass.getuser()}
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {self.folder / "known_hosts"}
  GlobalKnownHostsFile /dev/null
"""


def _processes() -> list[psutil.Process]:
    return list(psutil.process_iter())


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []


def _is_ssh(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.name() == "ssh"
    return False

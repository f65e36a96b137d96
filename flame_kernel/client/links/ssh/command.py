"""How ssh is called: the program, our options, and the command that it runs over there."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flame_kernel.client.links.target import Ssh
from flame_kernel.errors import ConfigurationError

# What is said on the far side's stdout behind this word is for us; a login's greetings are not.
MARKER = "flame-ssh "

# What we want whatever the user's configuration says; what it says about how to get there stays as it is.
_OPTIONS = {
    "ExitOnForwardFailure": "no",  # of a port that the configuration forwards, and that another ssh has already
    "StreamLocalBindUnlink": "yes",
    "ServerAliveInterval": "5",  # a link that says nothing for 15 s is given up, and so is its ssh
    "ServerAliveCountMax": "3",
    "ControlMaster": "no",  # a master that is there is used, but other logins must not depend on ours
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
}

# For a run where nobody can answer: fail instead of asking, and don't wait for ever.
_UNATTENDED = {"BatchMode": "yes", "ConnectTimeout": "15"}

# POSIX sh in one line without ' and !, so that every login shell passes it on as it is. The private environment comes
# first, because somebody put it there for this; the PATH of a command that ssh runs is short.
_FIND = (
    "p=$1; "
    'case $p in "~/"*) p=$HOME/${p#"~/"};; esac; '
    'if [ -n "$p" ]; then '
    'if [ -d "$p" ]; then p=$p/bin/python; fi; '
    'if "$p" -c "import flame_kernel" 2>/dev/null; then exec "$p" -m flame_kernel ssh-serve; fi; '
    "else "
    'e=$(cd -P "${FLAME_HOME:-${XDG_DATA_HOME:-$HOME/.local/share}/remote-flame}/ssh/current" 2>/dev/null && pwd -P) '
    '&& [ -x "$e/bin/python" ] && exec "$e/bin/python" -m flame_kernel ssh-serve; '
    'for f in flame "$HOME/.local/bin/flame"; do f=$(command -v "$f") && exec "$f" ssh-serve; done; '
    'python3 -c "import flame_kernel" 2>/dev/null && exec python3 -m flame_kernel ssh-serve; '
    "fi; "
    f'echo "{MARKER}{{\\"missing\\":true}}"'
)


@dataclass(frozen=True)
class Program:
    """The program that is called, and its options.

    Attributes:
        words: The words before ours.
    """

    words: tuple[str, ...]

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Program:
        """Find it.

        Args:
            environ: The environment; FLAME_SSH counts, a program with options, ``ssh`` unless given.

        Raises:
            ConfigurationError: There's none.

        Example:
            >>> Program.find({"FLAME_SSH": "ssh -J bastion"}).words[1:]
            ('-J', 'bastion')
        """
        text = environ.get("FLAME_SSH") or "ssh"
        try:
            words = shlex.split(text, posix=os.name == "posix")  # Windows' paths have backslashes
        except ValueError as error:
            raise ConfigurationError(f"FLAME_SSH={text!r} can't be read: {error}") from error
        program = shutil.which(words[0], path=environ.get("PATH")) if words else None
        if program is None:
            raise ConfigurationError(
                f"there is no program {words[0] if words else text!r} on this machine; install OpenSSH's client, or "
                "say where it is with FLAME_SSH"
            )
        return cls((program, *words[1:]))

    def call(
        self, target: Ssh, remote: str, *, ask: bool, forward: str = "", direct: bool = False, control: str = ""
    ) -> list[str]:
        """Return the words of a call.

        Args:
            target: Where to.
            remote: The command over there.
            ask: Whether ssh may ask for a password, or whether to trust a host.
            forward: What to forward, as ``-L`` takes it.
            direct: Whether to make a connection of its own, even if there's a master.
            control: What to tell the master in place of running a command.
        """
        options = {**_OPTIONS, **({} if ask else _UNATTENDED), **({"ControlPath": "none"} if direct else {})}
        words = [*self.words, "-T", "-x"]
        for name, value in options.items():
            words += ["-o", f"{name}={value}"]
        if forward:
            words += ["-L", forward]
        if target.user:
            words += ["-l", target.user]
        if target.port:
            words += ["-p", str(target.port)]
        if control:
            words += ["-O", control]
        return [*words, "--", target.host, *([] if control else [remote])]


def serve(target: Ssh) -> str:
    """Return the command that finds remote-flame over there and has it serve us."""
    return shell(_FIND, target.python)


def shell(script: str, *arguments: str) -> str:
    """Return a command line for whatever login shell is over there.

    Args:
        script: POSIX sh, in one line, without ' and !.
        arguments: Its arguments, likewise.
    """
    return " ".join(["sh", "-c", *(f"'{word}'" for word in (script, "flame-ssh", *arguments))])


def can_ask() -> bool:
    """Tell whether somebody sits at a terminal who can answer what ssh asks."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


# On Windows: Ctrl-C in the console, which is meant for a cell, does not reach another process group.
CREATION_FLAGS: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)


def apart(words: Sequence[str], ask: bool) -> tuple[list[str], bool]:
    """Keep Ctrl-C in the terminal, which is meant for a cell, away from ssh.

    Args:
        words: The call.
        ask: Whether ssh needs the terminal, and so can't be given a session of its own.

    Returns:
        The call to make, and whether to make it in a new session.
    """
    if os.name != "posix" or not ask:
        return list(words), True
    return ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *words], False

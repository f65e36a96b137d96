"""``flame ssh-install``: this very version of remote-flame into a private environment on a host that ssh reaches."""

from __future__ import annotations

import io
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import msgspec

from flame_kernel import __version__
from flame_kernel.client.links.ssh import complaints
from flame_kernel.client.links.ssh.command import CREATION_FLAGS, MARKER, Program, apart, can_ask, shell
from flame_kernel.client.links.ssh.wheels import OWN, closure, repack
from flame_kernel.client.links.target import Ssh, parse
from flame_kernel.errors import ConfigurationError, TransferError

# How long all of it may take, in seconds: an index may be slow, and a line too.
_LIMIT_S = 1800.0

# POSIX sh in one line without ' and !, as in `command`.
_BEGIN = (
    'case $1 in "") all="python3 python3.14 python3.13 python3.12 python3.11";; "~/"*) all=$HOME/${1#"~/"};; '
    "*) all=$1;; esac; "
    'for p in $all; do [ -d "$p" ] && p=$p/bin/python; '
    'if "$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then '
    'exec "$p" -c "import sys; i = sys.stdin.buffer; exec(compile(i.read(int(i.readline())), \\"ssh-install\\", '
    '\\"exec\\"), {\\"__name__\\": \\"__main__\\"})"; fi; done; '
    f'echo "{MARKER}{{\\"missing\\":true}}"'
)


@dataclass(frozen=True)
class Done:
    """What was installed.

    Attributes:
        target: Where.
        version: Which version.
        folder: The environment over there.
    """

    target: Ssh
    version: str
    folder: str


class Answer(msgspec.Struct, frozen=True):
    """What the far side says.

    Attributes:
        missing: Whether there's no Python that would do.
        failed: What a command said that failed.
        done: Whether all is done.
        folder: The new environment.
        version: Its Python's version.
        implementation: Its Python's implementation.
        platform: What it runs on.
        platforms: The platform tags that it takes.
    """

    missing: bool = False
    failed: list[str] = []
    done: bool = False
    folder: str = ""
    version: tuple[int, int] = (0, 0)
    implementation: str = ""
    platform: str = ""
    platforms: list[str] = []


def install(host: str, *, carry: bool, wheels: Path | None, tell: Callable[[str], None]) -> Done:
    """Install this version on a host.

    Args:
        host: ``ssh://…``, or what ssh calls it.
        carry: Whether all packages are carried, without a look at the host's own index.
        wheels: A folder with the packages to carry; what is installed here unless given.
        tell: Gets a line for each step.

    Returns:
        What was installed.

    Raises:
        ConnectError: ssh can't get there.
        TransferError: It can't be installed there; the message says why.
        ConfigurationError: What is to be carried isn't here.
    """
    import os

    target = parse(host if host.startswith("ssh:") else f"ssh://{host}", {})
    assert isinstance(target, Ssh)
    with tempfile.TemporaryDirectory() as temporary, _FarSide(target, Program.find(os.environ)) as far:
        folder = Path(temporary)
        own, pip = repack(OWN, folder), _pip(folder)
        begun = far.begin()
        tell(f"{target.host} has Python {begun.version[0]}.{begun.version[1]} on {begun.platform}")
        far.send([own, pip], pip=pip.name, tags=True)
        names = [own.name, pip.name]
        if not carry and wheels is None:
            tell("installing from its own index")
            answer = far.send([], install=names, offline=False)
            if not answer.failed:
                return far.finish(begun)
            tell(f"that failed ({_gist(answer.failed)})")
        needed = _needed(begun, far.platforms, own, folder / "needed", wheels)
        size = sum(path.stat().st_size for path in needed)
        tell(f"carrying {len(needed)} packages, {size / 2**20:,.0f} MiB")
        answer = far.send(needed, install=names, offline=True)
        if answer.failed:
            raise TransferError(f"remote-flame could not be installed on {target.host}: {_gist(answer.failed)}")
        return far.finish(begun)


class _FarSide:
    """The conversation with the script over there, through one run of ssh."""

    def __init__(self, target: Ssh, program: Program) -> None:
        ask = can_ask()
        words, session = apart(program.call(target, shell(_BEGIN, target.python), ask=ask), ask)
        self._target = target
        self._lines: deque[str] = deque(maxlen=30)
        self.platforms: list[str] = []
        self._process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=session,
            creationflags=CREATION_FLAGS,
        )
        self._limit = threading.Timer(_LIMIT_S, self._process.kill)
        self._limit.daemon = True
        self._limit.start()

    def begin(self) -> Answer:
        """Have an environment made."""
        script = files("flame_kernel.client.links.ssh").joinpath("far_install.py").read_bytes()
        self._write(str(len(script)).encode() + b"\n" + script)
        answer = self._ask({"version": __version__})
        if answer.missing:
            where = f" at {self._target.python}" if self._target.python else ""
            raise TransferError(
                f"{self._target.host} has no Python 3.11 or newer{where}; name one that it has: "
                f"flame ssh-install {self._target.bare}/path/to/python3"
            )
        if answer.failed:
            raise TransferError(
                f"no environment could be made on {self._target.host}: {_gist(answer.failed)}; name another Python "
                f"that it has: flame ssh-install {self._target.bare}/path/to/python3"
            )
        return answer

    def send(self, wheels: Iterable[Path], **request: object) -> Answer:
        """Send wheels, and what to do with them."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for wheel in wheels:
                archive.add(wheel, wheel.name)
        content = packed.getvalue()
        answer = self._ask({**request, "size": len(content)}, content)
        self.platforms = answer.platforms or self.platforms
        return answer

    def finish(self, begun: Answer) -> Done:
        """Wait until the environment is in use."""
        self._hear()
        return Done(self._target, __version__, begun.folder)

    def _ask(self, request: dict[str, object], content: bytes = b"") -> Answer:
        self._write(msgspec.json.encode(request) + b"\n" + content)
        return self._hear()

    def _write(self, content: bytes) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended, and says why
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def _hear(self) -> Answer:
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode("utf-8", "replace").strip()
            if line.startswith(MARKER):
                with suppress(msgspec.DecodeError):
                    return msgspec.json.decode(line.removeprefix(MARKER), type=Answer)
            if line:
                self._lines.append(line)
        raise complaints.why(self._target, list(self._lines), self._process.wait())

    def __enter__(self) -> _FarSide:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._limit.cancel()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(None if error is None else 5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _needed(there: Answer, platforms: Sequence[str], own: Path, folder: Path, wheels: Path | None) -> list[Path]:
    """Return the wheels to carry, ours not among them."""
    if wheels is not None:
        return sorted(path for path in wheels.glob("*.whl") if path.name != own.name)
    folder.mkdir()
    here = (sys.version_info[:2], sys.implementation.name, sysconfig.get_platform())
    if (there.version, there.implementation, there.platform) == here:
        try:
            return [repack(name, folder) for name in closure(OWN) if name != OWN]
        except (ConfigurationError, PackageNotFoundError):
            pass  # installed in a way that no wheel can be made of: from the index then
    return download(there, platforms, own, folder)


def download(there: Answer, platforms: Sequence[str], own: Path, folder: Path) -> list[Path]:
    """Fetch what another machine needs from this machine's index.

    Args:
        there: What the other machine says of its Python.
        platforms: The platform tags that it takes.
        own: Our own wheel, which names what it needs.
        folder: Where to put the wheels.

    Returns:
        The wheels.

    Raises:
        ConfigurationError: It can't be done here.
    """
    digits = "".join(map(str, there.version))
    words = ["--python-version", ".".join(map(str, there.version)), "--implementation", "cp"]
    for abi in (f"cp{digits}", "abi3", "none"):
        words += ["--abi", abi]
    for platform in platforms:
        words += ["--platform", platform]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    done = subprocess.run([*command, *words, str(own)], capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode != 0:
        raise ConfigurationError(
            f"the packages for Python {'.'.join(map(str, there.version))} on {there.platform} could not be fetched "
            f"here: {_gist(done.stderr.splitlines())}; name a folder that has them with --wheels"
        )
    return sorted(path for path in folder.glob("*.whl") if path.name != own.name)


def _pip(folder: Path) -> Path:
    """Return a wheel of pip: the one that is installed here, or the one that comes with this Python."""
    try:
        distribution("pip")
    except PackageNotFoundError:
        found = sorted(Path(str(files("ensurepip"))).glob("_bundled/pip-*.whl"))
        if not found:
            raise ConfigurationError(f"there is no pip in {sys.prefix}; install it here first") from None
        return found[-1]
    return repack("pip", folder)


def _gist(lines: Sequence[str]) -> str:
    """Return the line that says most."""
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or list(lines) or ["it does not say why"])[-1].removeprefix("ERROR:").strip()

"""Kernelspecs: "Remote Flame" once more for each host, with a name of its own in the launcher.

JupyterLab keeps what a debugger tells it by the kernel's *name*, so two hosts must not share one kernelspec.
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

from flame_kernel.errors import ConfigurationError

# The kernelspec that the wheel installs; the others take its logos and metadata.
MODEL = "flame"

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True)
class Choice:
    """What a kernelspec shall run.

    Attributes:
        host: The server, as ``connect`` takes it; empty for FLAME_HOST or this machine.
        kernel: The kernelspec to run there; empty for the server's default.
        detach: Whether "shut down" leaves the session running.
    """

    host: str = ""
    kernel: str = ""
    detach: bool = False

    def arguments(self) -> list[str]:
        """Return it as arguments of the bridge."""
        arguments = []
        if self.host:
            arguments += ["--host", self.host]
        if self.kernel:
            arguments += ["--kernel", self.kernel]
        if self.detach:
            arguments += ["--on-shutdown", "detach"]
        return arguments

    @property
    def suggested_name(self) -> str:
        """A name for the kernelspec."""
        parts = [MODEL, self.host, self.kernel]
        return _NOT_IN_A_NAME.sub("-", "-".join(part for part in parts if part).lower()).strip("-")

    @property
    def suggested_display_name(self) -> str:
        """A name for people."""
        what = f" ({self.kernel})" if self.kernel else ""
        return f"Remote Flame: {self.host or 'this machine'}{what}"


@dataclass(frozen=True)
class Installed:
    """A kernelspec that runs the bridge.

    Attributes:
        name: Its name.
        display_name: Its name for people.
        folder: Where it is.
        host: The server it names, empty for none.
    """

    name: str
    display_name: str
    folder: Path
    host: str


def install(choice: Choice, name: str = "", display_name: str = "", prefix: str | None = None) -> Installed:
    """Write a kernelspec.

    Args:
        choice: What it shall run.
        name: Its name; one is made from the choice unless given.
        display_name: Its name for people; likewise.
        prefix: The environment to install it for; for this user unless given.

    Returns:
        What was written.

    Raises:
        ConfigurationError: The name can't be used, or the kernelspec of the wheel is missing.
    """
    name = name or choice.suggested_name
    if _NOT_IN_A_NAME.search(name):
        raise ConfigurationError(f"{name!r} can't be a kernelspec's name; use a-z, 0-9, dot, dash and underscore")
    manager = KernelSpecManager()
    try:
        model = manager.get_kernel_spec(MODEL)
    except NoSuchKernel:
        raise ConfigurationError(
            f"the kernelspec {MODEL!r} is missing in {sys.prefix}; install remote-flame there again"
        ) from None
    fields = model.to_dict()
    fields["argv"] = [sys.executable, "-m", "flame_kernel.kernel", "-f", "{connection_file}", *choice.arguments()]
    fields["display_name"] = display_name or choice.suggested_display_name
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / name
        shutil.copytree(model.resource_dir, source)
        (source / "kernel.json").write_bytes(msgspec.json.format(msgspec.json.encode(fields), indent=1))
        written = manager.install_kernel_spec(str(source), name, user=prefix is None, prefix=prefix)
    return Installed(name, fields["display_name"], Path(written), choice.host)


def installed() -> list[Installed]:
    """Return the kernelspecs on this machine that run the bridge."""
    found = []
    for name, info in KernelSpecManager().get_all_specs().items():
        argv = info["spec"]["argv"]
        if "flame_kernel.kernel" in argv:
            host = argv[argv.index("--host") + 1] if "--host" in argv[:-1] else ""
            found.append(Installed(name, info["spec"]["display_name"], Path(info["resource_dir"]), host))
    return found

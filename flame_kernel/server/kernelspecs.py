"""What a session can run on this host: Jupyter's kernelspecs, and the environments that have none."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel

from flame_kernel.protocol.messages import KernelInfo
from flame_kernel.server import environments

_SPEC = "kernelspec"

# How long a Python may take to tell what it has, in seconds.
_PROBE_S = 20.0

_PROBE = """
import sys
print("%d.%d" % sys.version_info[:2])
from importlib.util import find_spec
print(find_spec("ipykernel") is not None, find_spec("pip") is not None)
"""


class HostKernels(KernelSpecManager):  # type: ignore[misc,unused-ignore]  # which is how jupyter_client is extended
    """Jupyter's kernelspecs, and the host's environments as if they had one each."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return a kernelspec by name, or that of an environment by name or path.

        Raises:
            NoSuchKernel: There's neither.
        """
        environment = environments.of(Path(kernel_name)) if environments.is_path(kernel_name) else None
        if environment is not None:
            return environment.kernelspec()
        try:
            return super().get_kernel_spec(kernel_name)
        except NoSuchKernel:
            for environment in environments.found(os.environ, Path.home()):
                if environment.name == kernel_name:
                    return environment.kernelspec()
            raise


def listed() -> tuple[KernelInfo, ...]:
    """Return all that a session can run on this host, kernelspecs first."""
    specs = KernelSpecManager().get_all_specs()
    found = [
        KernelInfo(name, info["spec"]["display_name"], info["spec"]["language"], _SPEC, info["resource_dir"])
        for name, info in specs.items()
    ]
    for one in environments.found(os.environ, Path.home()):
        name = str(one.prefix) if one.name in specs else one.name
        spec = one.kernelspec()
        found.append(KernelInfo(name, spec.display_name, "python", one.kind, str(one.prefix), one.version, one.ready))
    return tuple(found)


def inherited(environ: Mapping[str, str], spec: KernelSpec | None) -> dict[str, str]:
    """Return what a kernel gets of the server's environment: nothing that tells of another one that is active."""
    activates = spec is not None and "PATH" in spec.env
    return {name: value for name, value in environ.items() if not (activates and name in environments.ACTIVE)}


async def why_not(spec: KernelSpec | None) -> str:
    """Tell why a kernel may not have come up; empty when there's nothing to tell.

    Args:
        spec: Its kernelspec.
    """
    if spec is None or "ipykernel_launcher" not in spec.argv:
        return ""
    python = spec.argv[spec.argv.index("ipykernel_launcher") - 2]
    try:
        probe = await asyncio.create_subprocess_exec(
            python, "-c", _PROBE, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await asyncio.wait_for(probe.communicate(), _PROBE_S)
    except (OSError, TimeoutError) as error:
        return f"{python} can't be run: {error}"
    told = out.decode("utf-8", "replace").split()
    version = tuple(map(int, told[0].split("."))) if told else ()
    if version < environments.OLDEST:
        return f"{python} is Python {told[0]}, and a session needs 3.9 or newer" if told else ""
    if len(told) < 3 or told[1] == "True":
        return ""
    quoted = shlex.quote(python)
    install = f"{quoted} -m pip install ipykernel"
    if told[2] != "True":
        install = f"uv pip install --python {quoted} ipykernel"
    return f"{python} has no ipykernel; install it there: {install}"


def no_such(kernel: str) -> str:
    """Return what to say of a kernel that isn't there."""
    if environments.is_path(kernel):
        return f"there is no environment and no Python at {kernel} on this host"
    if kernel in KernelSpecManager().find_kernel_specs():  # which lists those that can't be used as well
        return f"kernel {kernel!r} can't be started: the server lacks the kernel provisioner that its kernelspec names"
    known = ", ".join(sorted(info.name for info in listed() if info.ready)) or "none at all"
    return f"there is no kernel named {kernel!r} on this host; there are: {known}; or give the path of an environment"

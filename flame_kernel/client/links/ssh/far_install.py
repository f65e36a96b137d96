"""What ``flame ssh-install`` runs on the other host, sent as source: it has the standard library, and nothing of ours.

It makes an environment of its own beside those of earlier versions, installs what it is sent, and points ``current`` at
it at last; if anything fails, all is as it was. Requests are lines of JSON, some with a tar file behind them.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import zipfile

MARKER = "flame-ssh "


def main() -> None:
    """Serve one installation."""
    request = read()
    home = os.environ.get("FLAME_HOME")
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    root = pathlib.Path(home or os.path.join(data, "remote-flame"), "ssh")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    number = 1
    while (root / f"{request['version']}-{number}").exists():
        number += 1
    folder = root / f"{request['version']}-{number}"
    try:
        # Without pip: what makes it is missing on many hosts, and a pip comes along.
        made = run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        if made:
            tell(failed=made)
            return
        python = str(folder / "bin" / "python")
        tell(
            folder=str(folder),
            version=sys.version_info[:2],
            implementation=sys.implementation.name,
            platform=sysconfig.get_platform(),
        )
        serve(python)
        use(root, folder)
        tell(done=True)
    except EOFError:  # the near side has given up, and said why itself
        return
    finally:
        if not is_current(root, folder):
            shutil.rmtree(folder, ignore_errors=True)


def serve(python: str) -> None:
    """Install what is sent until it's done."""
    with tempfile.TemporaryDirectory() as temporary:
        wheels = pathlib.Path(temporary, "wheels")
        while True:
            request = read()
            wheels.mkdir(exist_ok=True)
            with tarfile.open(fileobj=io.BytesIO(sys.stdin.buffer.read(request["size"]))) as archive:
                for member in archive:
                    content = archive.extractfile(member)
                    if content is not None:
                        (wheels / os.path.basename(member.name)).write_bytes(content.read())
            if "pip" in request:
                with zipfile.ZipFile(wheels / request["pip"]) as wheel:
                    wheel.extractall(os.path.join(temporary, "pip"))
            if "tags" in request:
                tell(platforms=platforms(python, temporary))
                continue
            where = ["--no-index", "--find-links", str(wheels)] if request["offline"] else ["--retries", "1"]
            what = [str(wheels / name) for name in request["install"]]
            environ = dict(os.environ, PYTHONPATH=os.path.join(temporary, "pip"))
            # The pip that runs counts as installed, but has to be.
            options = ["--no-input", "--quiet", "--ignore-installed"]
            wrong = run([python, "-m", "pip", "install", *options, *where, *what], environ)
            tell(failed=wrong)
            if not wrong:
                return


def platforms(python: str, temporary: str) -> list[str]:
    """Return the platform tags that this host's Python takes, best first."""
    code = "from pip._vendor.packaging.tags import sys_tags as t; print(*dict.fromkeys(x.platform for x in t()))"
    environ = dict(os.environ, PYTHONPATH=os.path.join(temporary, "pip"))
    told = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, env=environ, check=True)
    return told.stdout.decode().split()


def use(root: pathlib.Path, folder: pathlib.Path) -> None:
    """Let the next client find it; of the earlier ones only the last is kept, which may still be in use."""
    current = root / "current"
    last = os.path.realpath(current)
    link = root / "current.new"
    if link.is_symlink():
        link.unlink()
    link.symlink_to(folder.name)
    os.replace(link, current)
    for old in root.iterdir():
        if old != current and str(old) not in (str(folder), last):
            shutil.rmtree(old, ignore_errors=True)


def is_current(root: pathlib.Path, folder: pathlib.Path) -> bool:
    """Tell whether it's what clients use."""
    return os.path.realpath(root / "current") == os.path.realpath(folder)


def run(command: list[str], environ: dict[str, str] | None = None) -> list[str]:
    """Run a command; returns nothing, or what it said when it failed."""
    done = subprocess.run(
        command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode == 0:
        return []
    return [line for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()] or ["it says nothing"]


def read() -> dict:  # type: ignore[type-arg]
    """Read a request."""
    line = sys.stdin.buffer.readline()
    if not line:
        raise EOFError
    return json.loads(line)  # type: ignore[no-any-return]


def tell(**what: object) -> None:
    """Tell the near side something."""
    sys.stdout.write(MARKER + json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The Python environments of a host: conda's, venvs, pyenv's versions. Found by their files, without running anything.

Each can be a session's: named as it's listed, or by the path of its folder or its Python. Nothing is installed in it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec

# Folders of whoever's home it is, in which tools and people keep environments.
_FOLDERS_OF_VENVS = (
    ".virtualenvs",  # virtualenvwrapper
    ".local/share/virtualenvs",  # pipenv
    ".cache/pypoetry/virtualenvs",
    ".venvs",
    "venvs",
    "envs",
)
_CONDAS = ("miniforge3", "mambaforge", "miniconda3", "anaconda3", "micromamba", ".conda", "conda", ".micromamba")

# What projects call theirs; the project's folder names it better.
_NAMELESS = frozenset({".venv", "venv", "env", ".env"})

# What tells a shell that an environment is active; another one's must not be seen in this one.
ACTIVE = frozenset(
    {
        "CONDA_DEFAULT_ENV",
        "CONDA_PREFIX",
        "CONDA_PROMPT_MODIFIER",
        "CONDA_SHLVL",
        "PYENV_VERSION",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "VIRTUAL_ENV_PROMPT",
        "__PYVENV_LAUNCHER__",
    }
)

# The oldest Python that the worker runs on.
OLDEST = (3, 9)

# Some packages of conda have scripts that are to run before anything else.
_CONDA_SCRIPTS = 'for script in "$CONDA_PREFIX"/etc/conda/activate.d/*.sh; do . "$script"; done; exec "$0" "$@"'


@dataclass(frozen=True)
class Environment:
    """A Python environment.

    Attributes:
        name: What to call it.
        kind: ``conda``, ``venv``, ``pyenv`` or ``python``.
        prefix: Its folder.
        python: Its Python.
    """

    name: str
    kind: str
    prefix: Path
    python: Path

    @property
    def version(self) -> str:
        """The version of its Python, as far as its files tell."""
        with suppress(OSError):
            found = re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+(?:\.\d+)?)", self._config(), re.MULTILINE)
            if found:
                return found[1]
        for path in (*self.prefix.glob("conda-meta/python-[0-9]*.json"), self.prefix, *self._libraries()):
            found = re.fullmatch(r"(?:python-?)?(\d+\.\d+(?:\.\d+)?)(?:-.*)?", path.name)
            if found:
                return found[1]
        return ""

    @property
    def ready(self) -> bool:
        """Whether it has ipykernel and a Python that is new enough, as far as its files tell."""
        version = self.version
        if version and tuple(map(int, version.split(".")[:2])) < OLDEST:
            return False
        with suppress(OSError):
            if re.search(r"^include-system-site-packages\s*=\s*true", self._config(), re.MULTILINE):
                return True
        return any((library / "site-packages" / "ipykernel").is_dir() for library in self._libraries()) or (
            self.kind == "python"
        )

    def kernelspec(self) -> KernelSpec:
        """Return the kernelspec that runs ipykernel in it, with the environment activated."""
        argv = [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        if self.kind == "conda" and any(self.prefix.glob("etc/conda/activate.d/*.sh")):
            argv = ["bash", "-c", _CONDA_SCRIPTS, *argv]
        environ = {"PATH": f"{_literally(str(self.python.parent))}{os.pathsep}${{PATH}}"}
        prefix = _literally(str(self.prefix))
        if self.kind == "conda":
            environ |= {"CONDA_PREFIX": prefix, "CONDA_DEFAULT_ENV": _literally(self.name), "CONDA_SHLVL": "1"}
        elif self.kind == "venv":
            environ["VIRTUAL_ENV"] = prefix
        elif self.kind == "pyenv":
            environ["PYENV_VERSION"] = _literally(self.prefix.name)
        version = f"Python {self.version}".strip()
        return KernelSpec(
            argv=argv,
            env=environ,
            display_name=f"{version} ({self.name})",
            language="python",
            metadata={"debugger": True},
        )

    def _config(self) -> str:
        return (self.prefix / "pyvenv.cfg").read_text("utf-8", "replace")

    def _libraries(self) -> Iterator[Path]:
        return (path for path in sorted(self.prefix.glob("lib/python3*")) if path.is_dir())


def found(environ: Mapping[str, str], home: Path) -> list[Environment]:
    """Return the environments of a host, each with a name of its own.

    Args:
        environ: The server's environment, which tells where tools keep theirs.
        home: The user's home.
    """
    listed: dict[str, Environment] = {}
    seen: set[str] = set()
    for prefix in _prefixes(environ, home):
        environment = of(prefix)
        real = os.path.realpath(prefix)
        if environment is None or real in seen:
            continue
        seen.add(real)
        if environment.name in listed:
            environment = Environment(str(prefix), environment.kind, prefix, environment.python)
        listed[environment.name] = environment
    return list(listed.values())


def of(path: Path) -> Environment | None:
    """Return the environment that a path leads to.

    Args:
        path: Its folder, or its Python.

    Returns:
        The environment; ``None`` when there's none.
    """
    if path.is_dir():
        prefix, python = path, _python_of(path)
    else:
        prefix, python = path.parent.parent, path if _runs(path) else None
    if python is None:
        return None
    if (prefix / "conda-meta").is_dir():
        return Environment(_conda_name(prefix), "conda", prefix, python)
    if (prefix / "pyvenv.cfg").is_file():
        project = prefix.name in _NAMELESS and prefix.parent.name
        return Environment(project or prefix.name, "venv", prefix, python)
    kind = "pyenv" if prefix.parent.name == "versions" else "python"
    return Environment(prefix.name if kind == "pyenv" else str(path), kind, prefix, python)


def is_path(kernel: str) -> bool:
    """Tell whether what a user named as a kernel is a path rather than a name."""
    return os.sep in kernel or kernel.startswith(("~", "."))


def absolute(kernel: str, folder: Path) -> str:
    """Return what a user named as a kernel, so that it means the same wherever it's read.

    Args:
        kernel: A name, or a path.
        folder: What a relative path begins at.

    Example:
        >>> absolute("python3", Path("/srv/data")), absolute("./.venv", Path("/srv/data"))
        ('python3', '/srv/data/.venv')
    """
    return os.path.normpath(folder / Path(kernel).expanduser()) if is_path(kernel) else kernel


def _prefixes(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    yield from _condas(environ, home)
    for folder in (environ.get("WORKON_HOME", ""), *(str(home / name) for name in _FOLDERS_OF_VENVS)):
        yield from _folders(Path(folder)) if folder else ()
    yield from (home / name for name in sorted(_NAMELESS))
    for project in _folders(home):
        yield from (project / name for name in sorted(_NAMELESS))
    yield from _folders(Path(environ.get("PYENV_ROOT") or home / ".pyenv") / "versions")


def _condas(environ: Mapping[str, str], home: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from map(Path, (home / ".conda" / "environments.txt").read_text("utf-8").split("\n")[:-1])
    roots = [home / name for name in _CONDAS] + [Path("/opt") / name for name in _CONDAS]
    if environ.get("CONDA_EXE"):
        roots.insert(0, Path(environ["CONDA_EXE"]).parent.parent)
    if environ.get("MAMBA_ROOT_PREFIX"):
        roots.insert(0, Path(environ["MAMBA_ROOT_PREFIX"]))
    for root in roots:
        yield root
        yield from _folders(root / "envs")


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []


def _python_of(prefix: Path) -> Path | None:
    for name in ("python", "python3"):
        if _runs(prefix / "bin" / name):
            return prefix / "bin" / name
    return None


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _conda_name(prefix: Path) -> str:
    return "base" if (prefix / "condabin").is_dir() or (prefix / "envs").is_dir() else prefix.name


def _literally(text: str) -> str:
    return text.replace("$", "$$")  # jupyter_client substitutes in what a kernelspec has as environment

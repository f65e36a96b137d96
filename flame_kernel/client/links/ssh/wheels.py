"""Wheels of what is installed here, so that it can be installed elsewhere: no index, no source and no build is needed.

A wheel is the installed files and their list; what an installer adds (byte code, scripts of entry points) is left out.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from email.parser import HeaderParser
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flame_kernel.errors import ConfigurationError

OWN = "remote-flame"
_OWN_PACKAGES = ("flame_kernel", "flame_magics")

# What installers write into the dist-info folder.
_INSTALLERS = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"})


def repack(name: str, folder: Path) -> Path:
    """Make a wheel of what is installed here.

    Args:
        name: The distribution.
        folder: Where to put the wheel.

    Returns:
        The wheel.

    Raises:
        ConfigurationError: It isn't installed in a way from which a wheel could be made.
    """
    try:
        found = distribution(name)
    except PackageNotFoundError:
        raise ConfigurationError(f"{name} is not installed in {sys.prefix}, so it can't be carried") from None
    described = HeaderParser().parsestr(found.read_text("WHEEL") or "")
    tags = [tag for tag in described.get_all("Tag", []) if tag.count("-") == 2]
    if found.files is None or not tags:
        raise ConfigurationError(
            f"{name} was not installed from a wheel, so it can't be carried; name a folder of wheels with --wheels"
        )
    stem = f"{canonicalize_name(found.metadata['Name']).replace('-', '_')}-{found.version}"
    path = folder / f"{stem}-{_compressed(tags)}.whl"
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        for inside, content in _contents(found, stem):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{inside},sha256={digest},{len(content)}\n")
            wheel.writestr(inside, content)
        wheel.writestr(f"{stem}.dist-info/RECORD", "".join(record) + f"{stem}.dist-info/RECORD,,\n")
    return path


def closure(name: str) -> list[str]:
    """Return a distribution and all that it needs here, by their names.

    Args:
        name: The distribution.
    """
    found: dict[str, None] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(name, frozenset())]
    while waiting:
        wanted, extras = waiting.pop()
        key = canonicalize_name(wanted)
        if key in found and not extras:
            continue
        found[key] = None
        for text in distribution(wanted).requires or ():
            need = Requirement(text)
            if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((need.name, frozenset(need.extras)))
    return list(found)


def _contents(found: Distribution, stem: str) -> Iterator[tuple[str, bytes]]:
    info = f"{stem}.dist-info"
    scripts = {entry.name for entry in found.entry_points if entry.group in ("console_scripts", "gui_scripts")}
    editable = _is_editable(found)
    for file in found.files or ():
        path = Path(str(found.locate_file(file)))
        if "__pycache__" in file.parts or file.suffix == ".pyc" or (editable and file.suffix == ".pth"):
            continue
        if file.parts[0].endswith(".dist-info"):
            inside = "/".join((info, *file.parts[1:]))
            if file.name in _INSTALLERS or file.name.startswith("uv_"):
                continue
        elif file.parts[0] == "..":
            outside = path.resolve().relative_to(Path(sys.prefix).resolve())
            if outside.parts[0] in ("bin", "Scripts"):
                if outside.stem in scripts or outside.name in scripts:
                    continue
                yield f"{stem}.data/scripts/{outside.name}", _portable(path.read_bytes())
                continue
            inside = f"{stem}.data/data/{outside.as_posix()}"
        else:
            inside = file.as_posix()
        yield inside, path.read_bytes()
    if editable:
        if canonicalize_name(found.metadata["Name"]) != OWN:
            raise ConfigurationError(f"{found.metadata['Name']} is installed as editable, so it can't be carried")
        yield from _sources(_OWN_PACKAGES)


def _is_editable(found: Distribution) -> bool:
    origin = json.loads(found.read_text("direct_url.json") or "{}")
    return bool(origin.get("dir_info", {}).get("editable"))


def _sources(packages: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for package in packages:
        folder = Path(str(import_module(package).__file__)).parent
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{package}/{path.relative_to(folder).as_posix()}", path.read_bytes()


def _portable(script: bytes) -> bytes:
    """Return a script with the shebang that installers replace by their own Python."""
    return re.sub(rb"\A#!.*python.*", b"#!python", script) if script.startswith(b"#!") else script


def _compressed(tags: list[str]) -> str:
    parts: list[dict[str, None]] = [{}, {}, {}]
    for tag in tags:
        for part, word in zip(parts, tag.split("-"), strict=True):
            part.update(dict.fromkeys(word.split(".")))
    return "-".join(".".join(part) for part in parts)

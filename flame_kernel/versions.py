"""Versions of Python and of packages whose values cross between two machines: what is installed, and what differs.

Read off the names of what is in the folders of ``sys.path``, which takes a millisecond and imports nothing.

This module is loaded inside sessions too: standard library and Python 3.9.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache

# An array or a table that was pickled by one version of these may not load with another.
PACKAGES = frozenset(
    {
        "cloudpickle",
        "dask",
        "ipywidgets",
        "jax",
        "lightgbm",
        "matplotlib",
        "networkx",
        "numpy",
        "pandas",
        "plotly",
        "polars",
        "pyarrow",
        "scikit-learn",
        "scipy",
        "statsmodels",
        "sympy",
        "tensorflow",
        "torch",
        "xarray",
        "xgboost",
    }
)

PYTHON = "Python"

# As pip, conda and Debian name what tells of an installed package.
_INSTALLED = re.compile(r"(?P<name>[A-Za-z0-9_.-]+?)-(?P<version>\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info")


def installed(path: Sequence[str] | None = None) -> dict[str, str]:
    """Return the versions of Python and of those of :data:`PACKAGES` that are installed here.

    Args:
        path: Where to look; ``sys.path`` unless told.

    Example:
        >>> installed([])["Python"].count(".")
        2
    """
    found: dict[str, str] = {}
    for folder in sys.path if path is None else path:
        with suppress(OSError):
            where = os.path.abspath(folder)  # of the empty name too, which is the working folder
            for name, version in _installed_in(where, os.stat(where).st_mtime_ns):
                found.setdefault(name, version)  # what comes first is what is imported
    python = ".".join(map(str, sys.version_info[:3]))
    return {PYTHON: python, **{name: found[name] for name in sorted(found)}}


@lru_cache(maxsize=64)
def _installed_in(folder: str, changed: int) -> tuple[tuple[str, str], ...]:
    """Return the names and versions that a folder tells of; installing something changes the folder's time."""
    found = []
    for entry in os.listdir(folder):
        match = _INSTALLED.fullmatch(entry)
        if match is not None:
            name = re.sub("[-_.]+", "-", match["name"]).lower()
            if name in PACKAGES:
                found.append((name, match["version"]))
    return tuple(found)


def report() -> str:
    """Return what :func:`installed` does as JSON."""
    return json.dumps(installed())


def differing(here: Mapping[str, str], there: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return what both have, in different versions.

    Args:
        here: The versions here.
        there: The versions there. Python's third figure makes no difference to what can cross.

    Returns:
        The versions here and there, by name.

    Example:
        >>> differing({"Python": "3.11.7", "numpy": "2.1.0"}, {"Python": "3.11.9", "numpy": "1.26.4"})
        {'numpy': ('2.1.0', '1.26.4')}
    """
    return {
        name: (here[name], version)
        for name, version in there.items()
        if name in here and _shown(name, here[name]) != _shown(name, version)
    }


def describe(differences: Mapping[str, tuple[str, str]]) -> str:
    """Return differences in words, in a line.

    Example:
        >>> describe({"numpy": ("2.1.0", "1.26.4")})
        'numpy 1.26.4 (here 2.1.0)'
    """
    return ", ".join(f"{name} {there} (here {here})" for name, (here, there) in differences.items())


def _shown(name: str, version: str) -> str:
    return ".".join(version.split(".")[:2]) if name == PYTHON else version

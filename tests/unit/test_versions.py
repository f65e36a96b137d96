"""What is installed is read off names, as pip, conda and Debian write them."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from flame_kernel.versions import differing, installed


def test_what_is_installed_here_is_what_python_says() -> None:
    found = installed()

    assert found.pop("Python") == platform.python_version()
    assert found["numpy"] == importlib.metadata.version("numpy")
    assert found == {name: importlib.metadata.version(name) for name in found}


def test_names_are_read_however_they_are_written(tmp_path: Path) -> None:
    for name in (
        "scikit_learn-1.5.0.dist-info",
        "numpy-1.24.2.egg-info",
        "pandas-2.2.3+local.1.dist-info",
        "scipy-1.10.1-py3.9.egg-info",
        "numpydoc-1.0.dist-info",
        "torch",
        "xarray-.dist-info",
    ):
        (tmp_path / name).mkdir()
    found = installed([str(tmp_path)])
    del found["Python"]

    assert found == {"scikit-learn": "1.5.0", "numpy": "1.24.2", "pandas": "2.2.3+local.1", "scipy": "1.10.1"}


def test_what_is_found_first_counts(tmp_path: Path) -> None:
    for version in ("1", "2"):
        (tmp_path / version / f"numpy-{version}.0.dist-info").mkdir(parents=True)

    assert installed([str(tmp_path / "2"), str(tmp_path / "no folder"), str(tmp_path / "1")])["numpy"] == "2.0"


def test_only_what_both_have_differs() -> None:
    here = {"Python": "3.11.7", "numpy": "2.0.1", "pandas": "2.2.3", "scipy": "1.10.1"}

    assert differing(here, {"Python": "3.11.9", "numpy": "2.0.0", "torch": "2.1", "scipy": "1.10.1"}) == {
        "numpy": ("2.0.1", "2.0.0")
    }
    assert differing(here, {"Python": "3.9.18"}) == {"Python": ("3.11.7", "3.9.18")}
    assert differing(here, {}) == {}

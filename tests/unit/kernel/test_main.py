from __future__ import annotations

from pathlib import Path

import pytest

from flame_kernel.kernel.main import _session_name


@pytest.mark.parametrize(
    ("notebook", "readable"),
    [
        ("/home/ada/stars/transit.ipynb", "transit"),
        ("stars/", "stars"),
        ("", "notebook"),
        ("a\nb.ipynb", "a_b"),
        ("x" * 250 + ".ipynb", "x" * 80),
    ],
    ids=["a path", "a folder", "none", "what can't be printed", "long"],
)
def test_a_notebook_of_any_name_has_a_session_that_a_server_takes(notebook: str, readable: str) -> None:
    name = _session_name(Path("/run/kernel-0123456789abcdef.json"), {"JPY_SESSION_NAME": notebook})
    assert name == f"{readable}-0123456789ab"
    assert len(name) <= 100
    assert name.isprintable()

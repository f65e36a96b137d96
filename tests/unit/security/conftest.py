"""What the tests of this folder share: a private folder, and processes that start a piece of work together."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import flame_kernel.security

Race = Callable[[str, int], list[str]]

_ROOT = Path(flame_kernel.security.__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "config"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def race() -> Race:
    """Give a function that runs code in several processes at once and returns what each printed."""

    def run(code: str, processes: int) -> list[str]:
        imports, _, work = code.partition("# go")
        script = f"{imports}\nimport sys\nprint('ready', flush=True)\nsys.stdin.readline()\n{work}"
        runners = [
            subprocess.Popen(
                [sys.executable, "-B", "-c", script],
                cwd=_ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(processes)
        ]
        for runner in runners:
            assert runner.stdout is not None
            assert runner.stdout.readline() == "ready\n"
        for runner in runners:
            assert runner.stdin is not None
            runner.stdin.write("go\n")
            runner.stdin.flush()
        outputs = [runner.communicate(timeout=20)[0] for runner in runners]
        assert [runner.returncode for runner in runners] == [0] * processes
        return outputs

    return run

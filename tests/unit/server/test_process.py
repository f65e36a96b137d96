from __future__ import annotations

import signal
from pathlib import Path

import pytest

from flame_kernel.errors import UnknownKernel
from flame_kernel.server.process import KernelProcess, how_it_ended


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "it ended; how is not known, because the server was started again since"),
        (0, "it ended with exit code 0"),
        (3, "it ended with exit code 3"),
        (-signal.SIGSEGV, "it was ended by SIGSEGV"),
        (-signal.SIGTERM, "it was ended by SIGTERM"),
        (-signal.SIGKILL, "it was killed (SIGKILL), which is what the system does when memory runs out"),
        (-signal.SIGRTMIN - 1, f"it was ended by signal {signal.SIGRTMIN + 1}"),
        (-200, "it was ended by signal 200"),
    ],
)
def test_an_exit_status_is_put_in_words(status: int | None, words: str) -> None:
    assert how_it_ended(status) == words


def test_a_kernel_that_the_host_does_not_have_is_refused_with_those_it_has(tmp_path: Path) -> None:
    with pytest.raises(UnknownKernel, match=r"there is no kernel named 'cobol' on this host; there are: .*python3"):
        KernelProcess("cobol", tmp_path, {}, tmp_path)


def test_a_session_knows_nothing_of_the_jupyter_or_flame_that_its_server_runs_below(tmp_path: Path) -> None:
    process = KernelProcess("python3", tmp_path, {"JPY_PARENT_PID": "1", "FLAME_ENABLED": "1", "LANG": "C"}, tmp_path)

    assert process._environ == {"LANG": "C"}
    assert process.language == "python"

"""Tab on remote modules in a plain ipykernel, as a notebook asks for it."""

from collections.abc import Iterator

import pytest

from tests.conformance.kernels import Home, Kernel


@pytest.fixture(scope="module")
def plain(home: Home) -> Iterator[Kernel]:
    """A plain ipykernel, whose user has connected to a server."""
    kernel = Kernel(home, "python3")
    try:
        assert kernel.frontend.execute("from flame_kernel import connect\nflame = connect()").reply["status"] == "ok"
        yield kernel
        kernel.frontend.execute("flame.close()")
    finally:
        kernel.close()


def matches(kernel: Kernel, code: str) -> set[str]:
    reply = kernel.frontend.ask("complete_request", {"code": code, "cursor_pos": len(code)}).reply
    assert reply["status"] == "ok"
    start = code.rindex(".") + 1 - reply["cursor_start"]  # some completers give the whole expression
    return {match[max(start, 0) :] for match in reply["matches"]}


def test_modules_and_what_is_in_them_complete(plain: Kernel) -> None:
    assert {"math", "xml", "this"} <= matches(plain, "flame.modules.")
    assert {"mailbox", "math"} <= matches(plain, "flame.modules.ma")
    assert {"sqrt", "pi"} <= matches(plain, "flame.modules.math.")
    assert matches(plain, "flame.modules.math.sq") == {"sqrt"}
    assert "join" in matches(plain, "flame.modules.os.path.jo")


def test_modules_complete_without_jedi_too(plain: Kernel) -> None:
    plain.frontend.execute("get_ipython().Completer.use_jedi = False")
    assert {"math", "xml", "this"} <= matches(plain, "flame.modules.")
    plain.frontend.execute("get_ipython().Completer.use_jedi = True")

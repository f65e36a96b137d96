"""Tab and Shift-Tab in a local notebook with the magics, as a frontend asks for them: remote names, and local ones when
nobody answers."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.conformance.kernels import Home, Kernel
from tests.integration.servers import until


@pytest.fixture(scope="module")
def local(home: Home) -> Iterator[Kernel]:
    """A plain ipykernel with the magics, connected to a server on this machine under two names."""
    kernel = Kernel(home, "python3")
    try:
        for code in (
            "%load_ext flame_magics",
            "%flame_connect -n one -s first",
            "%flame_connect -n two -s second",
            "%%flame -t two\nremote_number = 1\ndef remote_shout(text):\n    'Say it loudly.'\n    return text.upper()",
            "local_number = 2\ndef local_shout(text):\n    'Say it here.'",
            # jedi is slow the first time; 0.3 s are for sessions that are warm
            "%flame -t all get_ipython().Completer.complete('remote_') and None",
        ):
            reply = kernel.frontend.execute(code).reply
            assert reply["status"] == "ok", reply
        yield kernel
        kernel.frontend.execute(
            "from flame_kernel import Host\nwith Host() as host:\n    [host.end(one.name) for one in host.sessions()]"
        )
    finally:
        kernel.close()


def complete(kernel: Kernel, code: str) -> tuple[set[str], str]:
    """Return what may stand at the ``|`` and what it would replace."""
    cursor = code.index("|")
    code = code.replace("|", "")
    reply = kernel.frontend.ask("complete_request", {"code": code, "cursor_pos": cursor}).reply
    assert reply["status"] == "ok"
    return set(reply["matches"]), code[reply["cursor_start"] : reply["cursor_end"]]


def until_completed(kernel: Kernel, code: str, match: str) -> tuple[set[str], str]:
    """Complete until a match ends so: on a machine that is busy the session's answer may take more than 0.3 s."""
    found: list[tuple[set[str], str]] = []

    def there() -> bool:
        found.append(complete(kernel, code))
        return any(name.endswith(match) for name in found[-1][0])

    until(there)
    return found[-1]


def until_told(kernel: Kernel, code: str, text: str) -> None:
    """Ask what stands there until the session's answer comes in time, as above."""
    until(lambda: text in inspect(kernel, code))


def inspect(kernel: Kernel, code: str) -> str:
    cursor = code.index("|")
    content = {"code": code.replace("|", ""), "cursor_pos": cursor, "detail_level": 0}
    reply = kernel.frontend.ask("inspect_request", content).reply
    assert reply["status"] == "ok"
    return reply["data"].get("text/plain", "") if reply["found"] else ""


@contextmanager
def frozen(home: Home) -> Iterator[None]:
    """Stop all sessions, which neither answer nor end."""
    kernels = [process for process in home.processes() if _is_session(process)]
    assert kernels
    for process in kernels:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in kernels:
            process.send_signal(signal.SIGCONT)


def _is_session(process: psutil.Process) -> bool:
    command = " ".join(process.cmdline())
    return "ipykernel" in command and "/runtime/" not in command


# ---------------------------------------------------------------- in cells


def test_a_cell_completes_remote_names_and_no_local_ones(local: Kernel) -> None:
    assert until_completed(local, "%%flame -t two\nprint(remote_|)", "remote_number") == (
        {"remote_number", "remote_shout"},
        "remote_",
    )
    matches, _ = until_completed(local, "%%flame -t two\nimport os\nremote_shout.__na|", "__name__")
    assert {match.rpartition(".")[2] for match in matches} == {"__name__"}


def test_each_target_completes_its_own_names(local: Kernel) -> None:
    matches, _ = complete(local, "%%flame -t one\nremote_|")
    assert "remote_number" not in matches


def test_an_expression_completes_remote_names(local: Kernel) -> None:
    assert until_completed(local, "x = %flame -t two remote_n|", "remote_number") == ({"remote_number"}, "remote_n")


def test_other_cells_complete_local_names(local: Kernel) -> None:
    assert "local_number" in complete(local, "local_n|")[0]
    assert "remote_number" not in complete(local, "remote_n|")[0]
    assert "local_number" in complete(local, "%%time\nlocal_n|")[0]


def test_shift_tab_tells_what_remote_names_mean(local: Kernel) -> None:
    until_told(local, "%%flame -t two\nx = 1\nremote_sho|ut('a')", "Say it loudly.")
    until_told(local, "%flame -t two remote_shout|", "Say it loudly.")
    assert "Say it here." in inspect(local, "local_shout|")
    assert inspect(local, "remote_shout|") == ""


def test_when_the_session_does_not_answer_the_local_names_do(local: Kernel, home: Home) -> None:
    with frozen(home):
        began = time.monotonic()
        assert "local_number" in complete(local, "%%flame\nlocal_n|")[0]
        assert "Say it here." in inspect(local, "%%flame\nlocal_shout|")
        assert "--session" in complete(local, "%flame_connect --se|")[0]
        assert complete(local, f"%flame_get {home.path}/|")[0] is not None
        waited = time.monotonic() - began
    assert waited < 20  # four times 0.3 s and what a busy machine adds; a session that is waited for never answers
    assert "remote_number" in until_completed(local, "%%flame -t two\nremote_n|", "remote_number")[0]


def test_when_the_connection_has_ended_the_local_names_answer(local: Kernel) -> None:
    local.frontend.execute("%flame_connect -n three -s third\n%flame_disconnect three")
    assert "local_number" in complete(local, "%%flame -t three\nlocal_n|")[0]
    assert "local_number" in complete(local, "%%flame -t never_there\nlocal_n|")[0]


# ---------------------------------------------------------------- in lines


def test_options_and_their_values(local: Kernel) -> None:
    assert complete(local, "%%flame --ta|") == ({"--target"}, "--ta")
    assert complete(local, "%flame_put --links |")[0] == {"keep", "follow", "skip"}
    assert complete(local, "%flame_push -t |")[0] == {"one", "two", "all"}
    assert complete(local, "%flame_pull -t |")[0] == {"one", "two"}
    assert complete(local, "%flame_disconnect t|")[0] == {"two"}
    assert complete(local, "%flame_push -t one,t|") == ({"two"}, "t")
    assert until_completed(local, "%flame_attach fi|", "first") == ({"first"}, "fi")
    assert "python3" in until_completed(local, "%flame_connect -k py|", "python3")[0]


def test_hosts_that_are_known(local: Kernel, home: Home) -> None:
    known = home.path / "config" / "known_hosts"
    known.touch(0o600)
    known.write_text("gpu1:9999 flame-curve25519 AAAA\n")
    assert complete(local, "%flame_connect gp|") == ({"gpu1:9999"}, "gp")
    known.unlink()
    (home.path / ".ssh").mkdir()
    (home.path / ".ssh" / "config").write_text("Host lab lab2 *.example.org\n  User ada\nhost !never\n")
    local.frontend.execute(f"import os; was = os.environ['HOME']; os.environ['HOME'] = {str(home.path)!r}")
    assert complete(local, "%flame_connect ssh://l|") == ({"ssh://lab", "ssh://lab2"}, "ssh://l")
    local.frontend.execute("os.environ['HOME'] = was")


def test_variables_of_both_sides(local: Kernel) -> None:
    assert complete(local, "%flame_push local_n|")[0] == {"local_number"}
    assert until_completed(local, "%flame_pull -t two x,y=remote_n|", "remote_number") == (
        {"remote_number"},
        "remote_n",
    )


def test_paths_of_both_sides(local: Kernel, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.txt").touch()
    both = {f"{tmp_path}/folder/", f"{tmp_path}/file.txt"}
    assert complete(local, f"%flame_put {tmp_path}/f|")[0] == both
    assert until_completed(local, f"%flame_get {tmp_path}/f|", f"{tmp_path}/folder/")[0] == both


def test_modules_of_both_sides(local: Kernel) -> None:
    matches, replaced = until_completed(local, "%flame_module xml.dom.mini|", "xml.dom.minidom")
    assert (matches, replaced) == ({"xml.dom.minidom", "xml.dom.minicompat"}, "xml.dom.mini")
    assert "mailbox" in complete(local, "%flame_sendmodule mailb|")[0]


def test_proxies_complete_without_jedi_too(local: Kernel) -> None:
    local.frontend.execute("from flame_kernel import connect\nflame = connect(session='second')\n%flame_module math")
    local.frontend.execute("get_ipython().Completer.use_jedi = False")
    until_completed(local, "flame.modules.math.sq|", "sqrt")
    until_completed(local, "math.sq|", "sqrt")
    until_completed(local, "[].app|", "append")
    local.frontend.execute("get_ipython().Completer.use_jedi = True\nflame.close()")


def test_unloading_takes_everything_back(local: Kernel) -> None:
    local.frontend.execute("%unload_ext flame_magics")
    assert "remote_number" not in complete(local, "%%flame\nremote_n|")[0]
    told = local.frontend.execute(
        "vars(get_ipython().kernel).get('do_inspect'), get_ipython().Completer.custom_matchers"
    )
    assert told.value == "(None, [])"

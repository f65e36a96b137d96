"""The notebooks of the magics, executed from top to bottom in a plain local kernel, against real servers."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conformance.kernels import Home
from tests.integration.servers import FlameServer, short_folder

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Executed:
    """A notebook that has run.

    Args:
        cells: Its cells that have code.
    """

    def __init__(self, cells: list[Any]) -> None:
        self.cells = cells

    def outputs(self, beginning: str) -> list[Any]:
        """Return what the first cell showed whose code has a line that begins so."""
        pattern = re.compile(rf"^{re.escape(beginning)}", re.MULTILINE)
        return next(cell.outputs for cell in self.cells if pattern.search(cell.source))

    def text(self, beginning: str) -> str:
        """Return it as text."""
        told = []
        for output in self.outputs(beginning):
            told += [output.text] if output.output_type == "stream" else []
            told += [output.data.get("text/plain", "")] if "data" in output else []
            told += output.traceback if output.output_type == "error" else []
        return COLOURS.sub("", "\n".join(told))


def execute(name: str, environ: dict[str, str], folder: Path, **instead: str) -> Executed:
    """Run a notebook; a cell that fails must be tagged as one that may, and one that is tagged must fail.

    Args:
        name: The notebook.
        environ: The kernel's environment.
        folder: Where it runs.
        instead: What to put in the place of the host of each connection, by the connection's name.
    """
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    for cell in notebook.cells:
        for connection, host in instead.items():
            before, after = (f"%flame_connect {one} -n {connection}" for one in ("embedded", host))
            cell.source = cell.source.replace(before, after)
    failed: list[int] = []
    NotebookClient(
        notebook,
        timeout=60,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
        on_cell_error=lambda cell, cell_index, execute_reply: failed.append(cell_index),
    ).execute(env=environ)
    tagged = [n for n, cell in enumerate(notebook.cells) if "raises-exception" in cell.metadata.get("tags", ())]
    assert failed == tagged
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return Executed(cells)


@pytest.fixture(scope="module")
def hosts(home: Home) -> Iterator[list[FlameServer]]:
    """Two servers that play two hosts."""
    with ExitStack() as stack:
        yield [stack.enter_context(FlameServer(stack.enter_context(short_folder()))) for _ in range(2)]


def test_every_notebook_of_the_magics_is_run_here() -> None:
    own = {path.stem for path in NOTEBOOKS.glob("magics_*.ipynb")}
    assert own == {f"magics_{name}" for name in ("quickstart", "data", "files", "hosts", "jobs")}


def test_quickstart(home: Home, tmp_path: Path) -> None:
    done = execute("magics_quickstart", home.environ, tmp_path)
    (card,) = done.outputs("%flame_connect")
    assert "<table" in card.data["text/html"] or "<div" in card.data["text/html"]
    there, here = done.text("whoami()"), done.text('"whoami" in globals()')
    assert here.startswith("(False, 'process ")
    assert re.search(r"process \d+", there)[0] != re.search(r"process \d+", here)[0]  # type: ignore[index]
    assert done.text("for exposure") == "".join(f"exposure {n} of 4 read out\n" for n in range(1, 5))
    assert done.text("mean = %flame") == "0.559"
    assert "image/png" in done.outputs("import matplotlib")[0].data
    assert "return float(reading) * 1.8 + 32" in done.text("def convert")
    assert "flame_magics" not in done.text("def convert")


def test_data_work(home: Home, tmp_path: Path) -> None:
    done = execute("magics_data", home.environ, tmp_path)
    assert "<table" in done.outputs("hourly.loc[7]")[0].data["text/html"]
    assert done.text("candidate, round") == "(7, 0.047)"
    assert "image/png" in done.outputs("%%flame -i candidate")[0].data
    assert "readings is a handle" in done.text("%flame_pull readings")
    assert done.text("len(readings)") == "(1000000, True)"


def test_files_and_modules(home: Home, tmp_path: Path) -> None:
    done = execute("magics_files", home.environ, tmp_path)
    assert done.text("%flame_put") == "CopyResult(files=3, bytes=4197, found=0, skipped=())"
    before, after = (cell.outputs for cell in done.cells if "{night: len(cleaning.clean" in cell.source)
    assert before[0].data["text/plain"] == "{'mon': 198, 'tue': 198, 'wed': 197}"
    assert "cleaning has changed and was sent" in after[0].text
    assert after[1].data["text/plain"] == "{'mon': 124, 'tue': 142, 'wed': 143}"
    assert done.text("sorted(path.name") == "['mon.json', 'tue.json', 'wed.json']"
    assert "limit=0.02" in done.text("%flame_getmodule")


def test_several_hosts(home: Home, hosts: list[FlameServer], tmp_path: Path) -> None:
    done = execute("magics_hosts", home.environ, tmp_path, north=hosts[0].invite, south=hosts[1].invite)
    for server in hosts:
        assert server.address in done.text("%flame_status")
    assert done.text("%%flame -t north,south").count("the dome is open") == 2
    assert done.text("%flame -t all (plan") == "{'north': ('M51', 52.0, 1.1), 'south': ('M51', -29.3, 0.6)}"
    assert "north" in done.text("pd.DataFrame(counts)")
    assert "clouds over the southern site" in done.text("%%flame -t all -O nights")
    assert done.text('nights["north"].value') == "'M51 was seen'"
    for number in (1, 2):
        assert "exposure 4 of 4" in done.text(f"%flame_result {number}")


def test_long_jobs(home: Home, tmp_path: Path) -> None:
    done = execute("magics_jobs", home.environ, tmp_path)
    assert "session 'night' goes on" in done.text("%flame_disconnect lab")
    assert "night" in done.text("%flame_sessions")
    assert "exposure 8 of 8" in done.text("%flame_attach")
    assert done.text("total = %flame") == "204"
    assert "it goes on" in done.text("%%flame -t lab --timeout")
    assert "KeyboardInterrupt" in done.text("%flame_result")

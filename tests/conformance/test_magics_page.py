"""The page of the magics: it says what the magics say, and its examples run, one after the other, in one notebook."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import magics as generator
from flame_magics.extension import MAGICS
from tests.conformance.kernels import Home, Kernel
from tests.ports import free_port

CELLS = [
    cell
    for block in re.findall(r"^```ipython\n(.*?)^```", generator.PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    for cell in block.strip().split("\n\n")
]

# It takes Dask, and hosts: tests of its own run it.
ELSEWHERE = "%flame_cluster"

# What is typed where a magic asks.
ANSWERS = {"%flame_console": "exit()", "%flame_debug": "q"}


def test_the_page_is_what_make_docs_writes() -> None:
    written = generator.PAGE.read_text("utf-8")
    assert generator.page(written) == written, "make docs brings docs/magics.md up to date"


def test_every_magic_is_on_it_with_an_example() -> None:
    assert {kind for _, kind in generator.SECTIONS} == set(MAGICS)
    for kind in MAGICS:
        for magic in generator.magics(kind):
            assert any(re.search(rf"%{magic.parser.prog}\b", cell) for cell in generator.examples(magic)), magic


@pytest.fixture(scope="module")
def notebook(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    """A plain local kernel, in a folder with what the examples copy and send."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "raw").mkdir()
    (folder / "raw" / "night.csv").write_text("1,2\n")
    (folder / "report.csv").write_text("3,4\n")
    (folder / "tools.py").write_text("def shout(text):\n    return text.upper()\n")
    kernel = Kernel(home, "python3")
    try:
        kernel.frontend.execute(f"%cd -q {folder}")
        yield kernel
        kernel.frontend.execute(
            "from flame_kernel import Host\nwith Host() as host:\n    [host.end(one.name) for one in host.sessions()]"
        )
    finally:
        kernel.close()


def test_its_examples_run(notebook: Kernel) -> None:
    front = notebook.frontend
    ports: dict[str, str] = defaultdict(lambda: str(free_port()))
    for code in CELLS:
        if ELSEWHERE in code:
            continue
        if "%flame_forward" in code:  # a port of the page's may be taken here
            code = re.sub(r"\d{4}", lambda port: ports[port[0]], code)
        cell = front.start(code)
        if code in ANSWERS:
            front.wait(lambda: front.answer(cell).done or any(m.kind == "input_request" for m in front.answer(cell)))  # noqa: B023
            prompts = [message for message in front.answer(cell) if message.kind == "input_request"]
            if prompts:
                front.reply_input(prompts[0], ANSWERS[code])
        answer = front.finish(cell)
        assert answer.reply["status"] == "ok", (code, answer.reply, answer.text("stderr"))
    assert front.execute("x, y, total, ten, here").value == "(1, 6, 3, 10, ['a', 'b'])"
    assert Path(front.execute("%pwd").value.strip("'"), "fetched.csv").read_text() == "3,4\n"

"""The same notebook under the plain kernel and under Remote Flame: what stands below each cell is the same."""

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.conformance.executing import Client
from tests.conformance.frontend import Frontend, Message
from tests.conformance.kernels import Home, Kernel

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"

# Each text is a topic, in which a line of dashes begins another cell.
TOPICS = {
    "ipywidgets": """
        import ipywidgets as w
        slider = w.IntSlider(value=3, max=9, description="n")
        out = w.Output()
        slider.observe(lambda change: print("now", change.new), "value")
        slider
        ---
        slider.value = 7
        ---
        with out:
            print("inside")
            display("shown")
        out
        ---
        @w.interact(x=w.IntSlider(value=2, max=5), word=["a", "b"], on=True)
        def show(x, word, on):
            print(word * x, on)
        ---
        w.FileUpload(accept=".csv", multiple=True)
        ---
        bar = w.IntProgress(max=10)
        display(w.VBox([bar, w.HTML("<b>half</b>"), w.Button(description="go")]))
        for bar.value in range(6):
            pass
        ---
        joined = w.IntText()
        w.jslink((slider, "value"), (joined, "value"))
        """,
    "tqdm": """
        from tqdm import tqdm
        for _ in tqdm(range(4), mininterval=0, miniters=1):
            pass
        ---
        from tqdm.notebook import tqdm as notebook_tqdm
        for _ in notebook_tqdm(range(3), desc="frames"):
            pass
        """,
    "anywidget": """
        import anywidget, traitlets
        class Counter(anywidget.AnyWidget):
            _esm = "function render({model, el}) { el.textContent = model.get('n'); } export default { render };"
            _css = "p { color: red }"
            n = traitlets.Int(0).tag(sync=True)
        counter = Counter(n=4)
        counter
        ---
        counter.n += 1
        """,
    "matplotlib_inline": """
        import matplotlib.pyplot as plt
        plt.plot([1, 3, 2]);
        ---
        %config InlineBackend.figure_formats = ["svg"]
        %config InlineBackend.figure_formats = ["png"]
        figure, axes = plt.subplots(figsize=(2, 1))
        axes.set_title("two")
        plt.show()
        ---
        plt.get_backend()
        """,
    "ipympl": """
        %matplotlib widget
        import matplotlib.pyplot as plt
        figure, axes = plt.subplots(num=1, figsize=(2, 1))
        axes.plot([0, 1])
        plt.show()
        ---
        figure.canvas.draw(); plt.get_backend(), type(figure.canvas).__name__
        ---
        plt.close("all")
        %matplotlib inline
        """,
    "pandas": """
        import pandas as pd
        table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
        table
        ---
        table.style.highlight_max(subset="a")
        ---
        table.a
        """,
    "plotly": """
        import plotly.graph_objects as go
        import plotly.io
        plotly.io.renderers.default = "notebook_connected+plotly_mimetype"
        go.Figure(go.Scatter(y=[1, 3, 2]))
        ---
        go.FigureWidget(go.Bar(y=[1, 3, 2]))
        """,
    "altair": """
        import altair as alt
        alt.Chart(alt.Data(values=[{"a": 1}])).mark_point().encode(x="a:Q")
        """,
    "sympy": """
        from sympy import Integral, init_printing, sqrt, symbols
        init_printing(use_latex="mathjax")
        x = symbols("x")
        Integral(sqrt(1 / x), x)
        ---
        Integral(sqrt(1 / x), x).doit()
        """,
    "await": """
        import asyncio
        await asyncio.sleep(0.01, "slept")
        ---
        async def twice(n):
            yield n
            yield 2 * n
        [n async for n in twice(3)]
        ---
        task = asyncio.create_task(asyncio.sleep(0.01, "from the cell before"))
        ---
        await task
        """,
    "magics": """
        %timeit -n1 -r1 pass
        ---
        timing = %timeit -o -q -n2 -r3 pass
        timing.repeat, timing.loops
        ---
        %%time
        1 + 1
        ---
        %pdb on
        ---
        %pdb off
        ---
        %who_ls dict
        ---
        %no_such_magic
        ---
        %xmode
        ---
        1 / 0
        ---
        %xmode Context
        ---
        %precision 3
        3.14159
        ---
        len?
        ---
        def f():
            "Do nothing."
        ---
        f??
        ---
        %%capture kept
        print("captured"); display("too")
        ---
        kept.stdout, len(kept.outputs)
        ---
        %%writefile kept.txt
        kept
        ---
        %pycat kept.txt
        ---
        %%javascript
        1
        ---
        %%latex
        $x$
        ---
        _, _i, Out[1] if 1 in Out else None
        ---
        %history -l 2
        """,
    "autoreload": """
        %load_ext autoreload
        %autoreload 2
        import os, sys
        from pathlib import Path
        sys.path.insert(0, "")
        Path("edited_on_disk.py").write_text("def answer():\\n    return 41\\n")
        import edited_on_disk
        edited_on_disk.answer()
        ---
        Path("edited_on_disk.py").write_text("def answer():\\n    return 42, 'edited'\\n")
        os.utime("edited_on_disk.py", (2e9, 2e9))
        ---
        edited_on_disk.answer()
        ---
        %autoreload 0
        """,
    "shell": """
        !echo out; echo err >&2; exit 3
        ---
        _exit_code
        ---
        lines = !printf 'a\\nb\\n'
        lines
        ---
        word = "expanded"
        !echo {word} $word
        ---
        %%bash
        for n in 1 2; do echo $n; done
        ---
        %%bash --out said
        echo kept
        ---
        said
        ---
        %%bash
        exit 4
        ---
        %%script python3
        print("another Python")
        ---
        %cd -q .
        import os
        os.path.isdir(os.getcwd())
        """,
    "display": """
        print("one"); display("two", {"a": 1}); print("three")
        "four"
        ---
        handle = display("before", display_id="shown")
        ---
        from IPython.display import update_display
        handle.update("after"); update_display("again", display_id="shown")
        ---
        from IPython.display import HTML, JSON, Audio, Image, Latex, Markdown, SVG, clear_output
        print("gone"); clear_output(); print("stays")
        ---
        print("gone as well"); clear_output(wait=True); display("stays, too")
        ---
        display(HTML("<b>x</b>"), Markdown("*x*"), Latex("$x$"), JSON({"a": [1]}), SVG("<svg></svg>"))
        ---
        Audio(bytes(100), rate=8000, embed=True)
        ---
        import sys
        print("to stderr", file=sys.stderr)
        sys.stdout.write("no newline")
        ---
        class Rich:
            def _repr_mimebundle_(self, include=None, exclude=None):
                kind = "application/x-own+json"
                return {"text/plain": "plain", kind: {"deep": [1]}}, {kind: {"m": 1}}
        Rich()
        """,
}


def _cells(topic: str) -> list[str]:
    return [textwrap.dedent(cell).strip() for cell in textwrap.dedent(TOPICS[topic]).split("\n---\n")]


# ---------------------------------------------------------------- running and comparing


Both = tuple[nbformat.NotebookNode, nbformat.NotebookNode]

_BLOTS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "<uuid>"),
    (re.compile(r"[0-9a-f]{32}"), "<id>"),
    (re.compile(r"T_[0-9a-f]{5}"), "<style>"),  # pandas
    (re.compile(r"altair-viz-[0-9a-f]+"), "<chart>"),
    (re.compile(r"0x[0-9a-f]{6,}"), "<address>"),
    (re.compile(r"ipykernel_\d+"), "<process>"),
    (re.compile(r"[\d.]+(e[+-]?\d+)? ?(ns|[uμµ]s|ms|s|min)\b"), "<time>"),
    (re.compile(r"\d\d:\d\d(<|&lt;)\d\d:\d\d,\s[^\]]*\][ \u2007]*"), "<rate>"),
]


def _blot(value: Any) -> Any:
    if isinstance(value, dict):
        return {_blot(key): _blot(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_blot(item) for item in value]
    if not isinstance(value, str):
        return value
    for pattern, instead in _BLOTS:
        value = pattern.sub(instead, value)
    return value


def _on_both(make: Callable[[], nbformat.NotebookNode], folder: Path, home: Home) -> Both:
    async def run(kernel: str) -> nbformat.NotebookNode:
        (folder / kernel).mkdir()
        client = Client(
            make(),
            kernel_name=kernel,
            timeout=60,
            allow_errors=True,
            coalesce_streams=True,
            resources={"metadata": {"path": str(folder / kernel)}},
        )
        return await client.async_execute(env=home.environ)

    async def run_both() -> Both:
        plain, flame = await asyncio.gather(run("python3"), run("flame"))
        return plain, flame

    return asyncio.run(run_both())


def _outputs(notebook: nbformat.NotebookNode, topic: str = "") -> list[Any]:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [_blot(cell.outputs) for cell in cells if not topic or cell.metadata["topic"] == topic]


def _widgets(notebook: nbformat.NotebookNode) -> list[Any]:
    """The states of all widgets, in the order in which they were made."""
    return [_blot(state) for state in notebook.metadata["widgets"][WIDGETS]["state"].values()]


WIDGETS = "application/vnd.jupyter.widget-state+json"


@pytest.fixture(scope="module")
def both(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """All topics in one notebook, as the plain kernel and as Remote Flame ran it."""

    def make() -> nbformat.NotebookNode:
        cells = [
            nbformat.v4.new_code_cell(code, metadata={"topic": topic}) for topic in TOPICS for code in _cells(topic)
        ]
        return nbformat.v4.new_notebook(cells=cells)

    return _on_both(make, tmp_path_factory.mktemp("both"), home)


FAIL_ON_PURPOSE = {"%no_such_magic", "1 / 0", "%%bash\nexit 4"}


@pytest.mark.parametrize("topic", TOPICS)
def test_same_outputs(both: Both, topic: str) -> None:
    plain, flame = both
    assert _outputs(flame, topic) == _outputs(plain, topic)
    for cell in plain.cells:  # what fails on both compares well, and shows nothing
        errors = [output.evalue for output in cell.outputs if output.output_type == "error"]
        expected = cell.source in FAIL_ON_PURPOSE or cell.metadata["topic"] != topic
        assert expected or not errors, (cell.source, errors)


def test_same_state_of_all_widgets(both: Both) -> None:
    plain, flame = both
    assert len(_widgets(flame)) > 20
    assert _widgets(flame) == _widgets(plain)


def test_our_own_notebook(home: Home, tmp_path: Path) -> None:
    path = NOTEBOOKS / "quickstart.ipynb"
    plain, flame = _on_both(lambda: nbformat.read(path, as_version=4), tmp_path, home)
    names = re.compile(r"process \d+")
    told = [[names.sub("", repr(output)) for output in _outputs(notebook)] for notebook in (plain, flame)]
    assert told[0] == told[1]


def test_papermill(home: Home, tmp_path: Path) -> None:
    source = nbformat.read(NOTEBOOKS / "quickstart.ipynb", as_version=4)
    # A failure that is meant is one for papermill, whatever its tag.
    source.cells = [cell for cell in source.cells if "raises-exception" not in cell.metadata.get("tags", [])]
    parameters = nbformat.v4.new_code_cell("exposures = 1", metadata={"tags": ["parameters"]})
    source.cells += [parameters, nbformat.v4.new_code_cell("exposures * 2")]
    nbformat.write(source, tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "-k", "flame", "-p", "exposures", "21"]
    ran = subprocess.run(command, cwd=tmp_path, env=home.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    done = nbformat.read(tmp_path / "out.ipynb", as_version=4)
    assert done.metadata.papermill.exception is None
    assert done.cells[-1].outputs[0].data["text/plain"] == "42"


# ---------------------------------------------------------------- what a frontend does, which nbclient can't


@pytest.fixture(scope="module")
def plain(home: Home) -> Iterator[Kernel]:
    kernel = Kernel(home, "python3")
    try:
        yield kernel
    finally:
        kernel.close()


@pytest.fixture(scope="module")
def frontends(flame: Kernel, plain: Kernel) -> list[Frontend]:
    return [plain.frontend, flame.frontend]


def _answering(front: Frontend, code: str, *lines: str) -> list[Any]:
    """Run a cell that asks, answer it, and tell what was asked and said."""
    cell = front.start(code)

    def prompts() -> list[Message]:
        return [m for m in front.answer(cell) if m.kind == "input_request"]

    for count, line in enumerate(lines, 1):
        front.wait(lambda: len(prompts()) == count)  # noqa: B023  # called at once
        front.reply_input(prompts()[-1], line)
    answer = front.finish(cell)
    errors = [m.content["evalue"] for m in answer if m.kind == "error"]
    return _blot([[m.content for m in prompts()], answer.text(), errors, answer.reply["status"]])


def test_debug_and_pdb_ask_and_are_answered(frontends: list[Frontend]) -> None:
    told = []
    for front in frontends:
        front.execute("def f(n):\n    return 1 / n\nf(0)")
        told.append(
            [
                _answering(front, "%debug", "p n", "up", "q"),
                _answering(front, "%pdb on", *()),
                _answering(front, "f(0)", "p n + 41", "q"),
                _answering(front, "%pdb off", *()),
                _answering(
                    front, "from IPython.core.debugger import set_trace\nset_trace()\nx = 5", "n", "p 6 * 7", "c"
                ),
            ]
        )
    assert told[0] == told[1]
    assert "41" in told[1][2][1]
    assert "42" in told[1][4][1]


def test_a_slider_that_is_moved_calls_back(frontends: list[Frontend]) -> None:
    told = []
    for front in frontends:
        front.execute("import ipywidgets as w\nslider = w.IntSlider(max=9); slider.observe(print, 'value')")
        model = front.execute("slider.model_id").value.strip("'")
        state = {"method": "update", "state": {"value": 8}, "buffer_paths": []}
        moved = front.send("comm_msg", {"comm_id": model, "data": state})
        front.wait_text(moved, "new")
        front.execute("")
        about = [(m.kind, m.content) for m in front.answer(moved)]
        told.append([_blot(about), front.execute("slider.value").value])
    assert told[0] == told[1]
    assert told[1][1] == "8"


def test_an_uploaded_file_arrives_whole(frontends: list[Frontend]) -> None:
    content = bytes(range(256)) * 8000
    told = []
    for front in frontends:
        front.execute("import ipywidgets as w\nupload = w.FileUpload()")
        model = front.execute("upload.model_id").value.strip("'")
        file = {"name": "a.csv", "type": "text/csv", "size": len(content), "last_modified": 0}
        data = {"method": "update", "state": {"value": [file]}, "buffer_paths": [["value", 0, "content"]]}
        front.send("comm_msg", {"comm_id": model, "data": data}, buffers=[content])
        told.append(
            front.execute(
                "import hashlib; hashlib.md5(upload.value[0].content).hexdigest(), upload.value[0].name"
            ).value
        )
    assert told[0] == told[1]
    assert "a.csv" in told[1]


def test_large_buffers_pass_both_ways(frontends: list[Frontend]) -> None:
    buffers = [bytes(range(256)) * 40_000, b"", b"\x00" * 3_000_000]
    for front in frontends:
        front.execute(
            "from comm import create_comm\n"
            "big = create_comm(target_name='nobody')\n"
            "big.on_msg(lambda m: big.send({'n': len(m['buffers'])}, buffers=m['buffers']))"
        )
        comm_id = front.execute("big.comm_id").value.strip("'")
        sent = front.send("comm_msg", {"comm_id": comm_id, "data": {}}, buffers=buffers)
        echo = front.wait_for(sent, "comm_msg")
        assert echo.content["data"] == {"n": 3}
        assert list(echo.buffers) == buffers

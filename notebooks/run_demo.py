"""Run the quickstart under the Remote Flame kernel, show what each cell gave, and keep it as HTML.

With FLAME_HOST=HOST:PORT it runs on that host; without, on this machine, in a server that the kernel starts by itself.
"""

import re
import sys
import textwrap
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import NoSuchKernel
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbconvert import HTMLExporter

HERE = Path(__file__).resolve().parent
NOTEBOOK = HERE / "quickstart.ipynb"
PAGE = HERE.parent / "build" / "quickstart.html"
KERNEL = "flame"
SOURCE_LINES = 4
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def size(data: str, *, base64: bool) -> str:
    """The size of an output, for a person."""
    count = len(data) * 3 // 4 if base64 else len(data.encode())
    return f"{count} bytes" if count < 1000 else f"{count / 1000:.0f} kB"


def as_text(output: dict[str, Any], *, expected_error: bool) -> str:
    """One output of a cell, as a terminal can show it."""
    if output["output_type"] == "stream":
        return output["text"]
    if output["output_type"] == "error":
        if expected_error:
            return f"{output['ename']}: {output['evalue']}"
        return ANSI.sub("", "\n".join(output["traceback"]))
    data = output["data"]
    for kind, content in data.items():
        if kind.startswith("image/"):
            return f"[{kind} {size(content, base64=kind != 'image/svg+xml')}]"
    if "text/markdown" in data:
        return data["text/markdown"]
    text = data.get("text/plain", "")
    if "text/html" in data and text.startswith("<"):  # the name of an object, which says nothing
        return f"[text/html {size(data['text/html'], base64=False)}]"
    return text


def show(cell: dict[str, Any], cell_index: int, execute_reply: dict[str, Any]) -> None:
    """Print a cell that has run: the beginning of its source, imports left out, and what it gave."""
    lines = [line for line in cell["source"].splitlines() if line.strip() and not line.startswith(("import ", "from "))]
    if len(lines) > SOURCE_LINES:
        lines = [*lines[: SOURCE_LINES - 1], "…"]
    print(textwrap.indent("\n".join(lines), "  │ ", lambda _: True))
    expected_error = "raises-exception" in cell["metadata"].get("tags", [])
    for output in cell["outputs"]:
        print(textwrap.indent(as_text(output, expected_error=expected_error).rstrip("\n"), "  "))
    print(flush=True)


def main() -> int:
    """Run the notebook; the exit status says whether every cell did what it should."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(
        notebook,
        kernel_name=KERNEL,
        timeout=120,
        resources={"metadata": {"path": str(HERE)}},
        on_cell_executed=show,
    )
    print(f"{NOTEBOOK.name} under the kernel {KERNEL!r}\n", flush=True)
    status = 0
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"A cell failed: {error.ename}: {error.evalue}", file=sys.stderr)
        status = 1
    except NoSuchKernel:
        print(f"There is no kernel {KERNEL!r} here: install the project into this environment first.", file=sys.stderr)
        return 1
    except (DeadKernelError, RuntimeError, TimeoutError) as error:  # what starting a kernel and waiting for it raise
        print(f"The kernel did not answer: {error}", file=sys.stderr)
        client.km = client.create_kernel_manager()  # nbclient looks for one at exit, even after it dropped its own
        return 1
    page, _ = HTMLExporter().from_notebook_node(notebook)
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page, encoding="utf-8")
    print(f"The executed notebook is in {PAGE.relative_to(HERE.parent)}")
    return status


if __name__ == "__main__":
    sys.exit(main())

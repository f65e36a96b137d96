"""Every Python example in README and docs runs: a page from top to bottom, in one namespace, on its own server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.homes import short_home

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
WITH_EXAMPLES = [page for page in PAGES if EXAMPLE.search(page.read_text("utf-8"))]


def examples(page: Path) -> str:
    return "\n".join(EXAMPLE.findall(page.read_text("utf-8")))


@pytest.mark.parametrize("page", WITH_EXAMPLES, ids=lambda page: page.name)
def test_the_examples_of_a_page_run(page: Path) -> None:
    with short_home() as home:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("FLAME_")}
        script = subprocess.run(
            [sys.executable, "-c", examples(page)],
            env={**environ, "FLAME_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert script.returncode == 0, script.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []

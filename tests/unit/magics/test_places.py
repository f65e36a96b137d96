"""Where in a cell somebody writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_magics import places
from flame_magics.places import Arguments, Code, find, offset


def at(text: str) -> places.Place | None:
    """Find the place that a ``|`` marks."""
    cursor = text.index("|")
    text = text.replace("|", "")
    return find(text.split("\n"), *offset(text, cursor))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("%%flame\nx.app|", Code("", "x.app", 5)),
        ("%%flame -t gpu1 -o y\nimport os\nos.pa|\nz", Code("gpu1", "import os\nos.pa\nz", 15)),
        ("%%flame -i x --target gpu1\n|", Code("gpu1", "", 0)),
        ("%%flame --target=gpu1\nx|", Code("gpu1", "x", 1)),
        ("%%flame -tgpu1\nx|", Code("gpu1", "x", 1)),
        ("%%flame -t 'gpu1'\nx|", Code("gpu1", "x", 1)),
        ("%%flame -t gpu1,gpu2\nx|", Code("gpu1", "x", 1)),
        ("%%flame -t all\nx|", Code("", "x", 1)),
        ("\n\n%%flame\nx|", Code("", "x", 1)),
        ("%%flame\n%%flame -t x\n%%time|", Code("", "%%flame -t x\n%%time", 19)),
        ("%flame df.sha| + 1", Code("", "df.sha + 1", 6)),
        ("x = %flame  df.sha|", Code("", "df.sha", 6)),
        ("x[1] = 2\n%flame df|", Code("", "df", 2)),
        ("%flame -t gpu1 df|", Code("gpu1", "df", 2)),
        ("x = %flame --target=all df| + 1", Code("", "df + 1", 2)),
        ("%flame --ta|", Arguments("flame", "", (), "--ta")),
        ("%flame -t |", Arguments("flame", "", ("-t",), "")),
        ("%flame -t gp|", Arguments("flame", "gp", ("-t",), "gp")),
        ("%flame (-t, gp|)", Code("", "(-t, gp)", 7)),
        ("%flame_put -t gpu1 data/|", Arguments("flame_put", "gpu1", ("-t", "gpu1"), "data/")),
        ("%flame_put a | -t gpu1", Arguments("flame_put", "gpu1", ("a",), "")),
        ("%%flame -|", Arguments("flame", "", (), "-", cell=True)),
        ("%flame --timeout 3 df.sha| + 1", Code("", "df.sha + 1", 6)),
        ("x = %flame --quiet -t gpu1 df.sha|", Code("gpu1", "df.sha", 6)),
        ("%flame --quiet -t gp|", Arguments("flame", "gp", ("--quiet", "-t"), "gp")),
        ("x = 1\n  src = %flame_getmodule too|", Arguments("flame_getmodule", "", (), "too")),
    ],
)
def test_a_place_of_ours(text: str, place: places.Place) -> None:
    assert at(text) == place


@pytest.mark.parametrize(
    "text",
    [
        "|",
        "x.app|",
        "%%time\nx.app|",
        "%%flames_of_another\nx|",
        "%flam|",
        "%flame_put|",
        "x = 1\n%%flame\ny|",  # no cell magic: it doesn't stand at the top
        "x = 5 %flame|",
        "'%flame x|",
        "# %flame x|",
        "%%bash\n%%flame -t x|",
    ],
)
def test_a_place_of_python_or_of_others(text: str) -> None:
    assert at(text) is None


@given(st.text(alphabet="%flame_ \t\n-t='\"#,xy|", max_size=60), st.integers(0, 60))
def test_any_text_has_a_place_or_none(text: str, cursor: int) -> None:
    row, column = offset(text, min(cursor, len(text)))
    place = find(text.split("\n"), row, column)
    if isinstance(place, Code):
        assert 0 <= place.cursor <= len(place.code) + 1
        assert place.code in text

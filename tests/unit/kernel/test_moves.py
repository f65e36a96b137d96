from pathlib import Path

import pytest

from flame_kernel.errors import ConfigurationError
from flame_kernel.kernel.moves import Move, Moves, read

INVITE = "flame://gpu1:9999/#aR_JFH3fCyq2MBzJfF_whJJPw88ONNzyqz4YrI8DxiN5AA_q6Zhd6gbFlEJuIZG9q-VIyg"


@pytest.mark.parametrize(
    ("code", "move"),
    [
        ("%flame_connect gpu1", Move("gpu1")),
        ("  %flame_connect\n", Move()),
        (f"%flame_connect {INVITE}", Move(INVITE)),
        ("%flame_connect gpu1:9999 -k ir -s night", Move("gpu1:9999", "night", "ir")),
        ("%flame_connect --kernel ir", Move("", "", "ir")),
        ("x = 1", None),
        ("%flame_connect gpu1\nx = 1", None),
        ("%flame_connected gpu1", None),
        ("print('%flame_connect gpu1')", None),
    ],
)
def test_a_cell_that_is_only_the_magic_is_a_move(code: str, move: Move | None) -> None:
    assert read(code) == move


@pytest.mark.parametrize("options", ["gpu1 gpu2", "-k", "gpu1 -s", "-k a -k b", "'unclosed"])
def test_options_that_the_magic_does_not_have_are_an_error_that_says_which_it_has(options: str) -> None:
    with pytest.raises(ConfigurationError, match=r"\[TARGET\] \[-s SESSION\] \[-k KERNEL\]"):
        read(f"%flame_connect {options}")


def test_where_a_notebook_was_moved_to_is_found_again_until_it_is_forgotten(tmp_path: Path) -> None:
    Moves(tmp_path, "transit").remember(Move("gpu1:9999", "", "ir"))

    assert Moves(tmp_path, "transit").latest() == Move("gpu1:9999", "", "ir")
    assert Moves(tmp_path, "another").latest() is None

    Moves(tmp_path, "transit").forget()
    assert Moves(tmp_path, "transit").latest() is None

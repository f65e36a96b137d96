"""What a cell that asks is told where nobody can be asked: in the background, and on several sessions at once."""

from __future__ import annotations

from functools import partial
from typing import Any

from flame_kernel.errors import RemoteError

# What ipykernel raises then. Its message speaks of the front end, which has nothing to do with it.
_RAISED = "StdinNotImplementedError"

_TOLD = (
    "input() can't ask in a cell that runs in the background or on several sessions; in one that is waited for, on one "
    "session, it can"
)


def in_our_words(error: BaseException | None, outputs: list[dict[str, Any]]) -> BaseException | None:
    """Let the exception of a cell say why nobody was asked, if that is what it is about.

    Args:
        error: The cell's exception; it is changed.
        outputs: The cell's outputs, of which the exception is one; that is changed likewise.

    Returns:
        The exception.
    """
    name = error.ename if isinstance(error, RemoteError) else type(error).__name__
    if error is None or name != _RAISED:
        return error
    lines = [f"{name}: {_TOLD}"]
    if isinstance(error, RemoteError):
        error.evalue, error.args = _TOLD, tuple(lines)
    else:
        error.args = (_TOLD,)
    # functools.partial, not a closure: the exception has to stay picklable.
    error._render_traceback_ = partial(list, lines)  # type: ignore[attr-defined]  # what IPython looks for
    for output in outputs:
        if output["output_type"] == "error":
            output.update(evalue=_TOLD, traceback=lines)
    return error

"""Exception groups in a notebook: IPython prints them as Python does, and asks them not how they want to be shown.

So a group that comes from over there would be printed with the frames that carried it here, and where its own cell has
printed it already, once more.
"""

from __future__ import annotations

from functools import partial

from flame_kernel import CellResult
from flame_kernel.errors import RemoteError


def in_words(error: BaseException, result: CellResult | None = None) -> BaseException:
    """Return what to raise in place of a remote exception: a group in words, others as they are.

    Raise it where no exception is being handled: a group that it is the context of is printed as well.

    Args:
        error: The exception.
        result: What its cell gave, if that was shown.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    shown = RemoteError(type(error).__name__, str(error))
    render = getattr(error, "_render_traceback_", None)
    if render is None or (result is not None and _printed(result)):
        render = partial(_line, shown)
    shown._render_traceback_ = render  # type: ignore[attr-defined]  # what IPython looks for
    return shown


def _printed(result: CellResult) -> bool:
    """Whether the kernel over there has printed a cell's exception rather than that it told it as an output."""
    return not any(output["output_type"] == "error" for output in result.outputs)


def _line(error: BaseException) -> list[str]:
    return [str(error)]

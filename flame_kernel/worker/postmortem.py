"""What the last call that failed left behind, for a debugger: kept as IPython keeps it of cells."""

from __future__ import annotations

import sys

from flame_kernel.worker.failures import user_frames


def keep(error: BaseException) -> None:
    """Keep an exception's frames until the next one, of a call or a cell; one without frames of the user's is not kept.

    Args:
        error: What a call raised.
    """
    frames = user_frames(error.__traceback__)
    if frames is None or isinstance(error, (KeyboardInterrupt, SystemExit)):
        return
    sys.last_exc = sys.last_value = error.with_traceback(frames)  # type: ignore[attr-defined,unused-ignore]  # 3.12
    sys.last_type, sys.last_traceback = type(error), frames

"""Long reading without Python's search for cycles: there are none, and it would take half the time.

Every so often Python looks through all objects that there are, and here they only become more.
"""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def not_collecting() -> Iterator[None]:
    """Put that search off until the end of the block, in all threads."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()

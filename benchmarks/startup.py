"""What `import saferun` takes in a fresh interpreter whose bytecode is compiled already."""

import statistics
import subprocess
import sys

_TIMED = """
import time
began = time.perf_counter_ns()
import saferun
print(time.perf_counter_ns() - began)
"""


def imported(times: int) -> float:
    """The median of some fresh interpreters, in milliseconds."""
    return statistics.median(_once() for _ in range(times + 1))


def _once() -> float:
    told = subprocess.run([sys.executable, "-c", _TIMED], check=True, capture_output=True)
    return int(told.stdout) / 1e6

"""Whether memory stays flat: how large a process is after some calls, and after many more.

Run as a process of its own, `python -m benchmarks.memory FOLDER EARLY LATE`, so that nothing
else grows in it; it prints both sizes in bytes.
"""

import gc
import resource
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks import work
from benchmarks.guarded import Guarded, opened


class Growth(NamedTuple):
    """Resident bytes after `early` calls, and bytes that each call since has added."""

    early: int
    late: int
    size: int
    each: float


def grown(folder: Path, early: int, late: int) -> Growth:
    command = [sys.executable, "-m", "benchmarks.memory", str(folder), str(early), str(late)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    first, last = map(int, told.split())
    return Growth(early, late, first, (last - first) / (late - early))


def _resident() -> int:
    gc.collect()
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * resource.getpagesize()
    # Elsewhere only the peak is to be had without a further library; on macOS it is in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    folder, early, late = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    with opened(folder, "process") as store:
        tool = Guarded("", store, work.policy(limit=10**9))
        made = 0
        for goal in (early, late):
            # In runs of a thousand calls, as the calls of a server are in many runs.
            while made < goal:
                tool.run(min(1_000, goal - made))
                made += min(1_000, goal - made)
            print(_resident())


if __name__ == "__main__":
    main()

"""A peer's side: runs in the peer's environment, and makes calls as it is told on its input.

`python -m benchmarks.turns agt` and `python -m benchmarks.turns cedar`; nothing that is imported
here imports SafeRun.
"""

import json
import sys

from benchmarks import cedar, engine, govern
from benchmarks.measure import timed

CASES = {"agt": engine.CASES | govern.CASES, "cedar": cedar.CASES}


def main() -> None:
    calls = {name: ready() for name, ready in CASES[sys.argv[1]].items()}
    for line in sys.stdin:
        name, times = json.loads(line)
        print(json.dumps(timed(calls[name], times).spent), flush=True)


if __name__ == "__main__":
    main()

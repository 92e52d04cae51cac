"""What a rerun costs: `python -m benchmarks.rerun`.

An agent of `FRAMES` frames, a model turn and nine calls at a time, is recorded and made again.
What a frame takes is all that the rerun does between its beginning and its end, the agent's own
code among it; reading the record back is told apart. It is one thread that waits for nothing, so
the time is that of the processor, and a busy machine makes it little longer. Then one whose tools
and model take as long as fast ones really do, to see what is left of the time that it took.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from saferun import Gate, config, guard, rerun

FRAMES = 10_000
ROUNDS = 5

TARGET_US = 100
TARGET_SHARE = 0.1


def main() -> int:
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        os.chdir(folder)
        try:
            Path("saferun.toml").write_text('durability = "process"\n', encoding="utf-8")
            gate = Gate(settings=config.load())
            frames, record = _frames(gate)
            share = _share(gate)
            gate.close()
        finally:
            os.chdir("..")
    print(f"a frame, of {FRAMES:,}: {frames:6.1f} µs   (≤ {TARGET_US})")
    print(f"reading one back:      {record:6.1f} µs")
    print(f"of an agent's time:    {share:6.1%}    (≤ {TARGET_SHARE:.0%})")
    return 0


def _agent(gate: Gate, rounds: int, tool: float, model: float) -> Callable[[], str]:
    def look(order: str, number: int) -> dict[str, object]:
        if tool:
            time.sleep(tool)
        return {"order": order, "number": number, "lines": ["a", "b", "c"]}

    def answer() -> str:
        if model and not again:
            time.sleep(model)
        return "I look at the next ones."

    safe = guard(look, gate=gate)
    again: list[bool] = []

    def main() -> str:
        messages: list[dict[str, str]] = []
        with gate.run(agent="bench", user="maria") as run:
            for number in range(rounds):
                messages.append({"role": "user", "content": f"Order {number}?"})
                run.model(answer(), model="none", messages=messages)
                for each in range(9):
                    safe(f"A-{number}", each)
        again.append(True)
        return run.run_id

    return main


def _frames(gate: Gate) -> tuple[float, float]:
    """Microseconds for a frame of a rerun, and for reading one of its record; medians."""
    main = _agent(gate, FRAMES // 10, 0, 0)
    run_id = main()
    gate.store.flush()
    spent: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        began = time.process_time()
        with rerun(run_id) as again:
            read = time.process_time()
            main()
            done = time.process_time()
        assert again.frames == FRAMES
        spent.append(((done - read) / FRAMES * 1e6, (read - began) / FRAMES * 1e6))
    return sorted(spent)[ROUNDS // 2]


def _share(gate: Gate) -> float:
    """The time of a rerun, all of it, as a part of that of the run: 10 ms a tool, 200 a turn."""
    main = _agent(gate, 5, 0.010, 0.200)
    began = time.perf_counter()
    run_id = main()
    took = time.perf_counter() - began
    gate.store.flush()
    began = time.perf_counter()
    with rerun(run_id):
        main()
    return (time.perf_counter() - began) / took


if __name__ == "__main__":
    raise SystemExit(main())

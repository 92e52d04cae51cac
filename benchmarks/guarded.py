"""The whole guarded call, in one thread: bind, decide, admit, run, settle, in both durabilities."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import saferun
from benchmarks import work
from benchmarks.measure import Round, Single
from saferun import Gate, config, policy
from saferun.config import Durability
from saferun.store import Store


class Guarded(Single):
    """`guard(refund)` on a store of its own, within a run."""

    def __init__(self, name: str, store: Store, text: str) -> None:
        self._store = store
        self._gate = gate(store, text)
        tool = saferun.guard(work.refund, gate=self._gate)
        orders = work.orders()
        super().__init__(name, lambda: tool(**next(orders)))

    def run(self, calls: int) -> Round:
        with self._gate.run(agent="bench", user="maria", tenant="acme"):
            done = super().run(calls)
        # What rides is written now, and not while the next case is timed.
        self._store.flush()
        return done


@contextlib.contextmanager
def cases(folder: Path) -> Iterator[list[Guarded]]:
    with contextlib.ExitStack() as stores:

        def guarded(name: str, durability: Durability, text: str, *, ride: bool = False) -> Guarded:
            place = folder / name.replace(", ", "-").replace(" ", "-")
            store = stores.enter_context(opened(place, durability, ride=ride))
            return Guarded(f"guard: {name}", store, text)

        usual = work.policy()
        yield [
            guarded("process, own", "process", usual),
            guarded("process, ride", "process", usual, ride=True),
            guarded("process, own, no controls", "process", work.policy(controls=work.OFF)),
            guarded("process, own, breaker alone", "process", work.policy(controls="loops: off\n")),
            guarded("process, own, loops alone", "process", work.policy(controls="breaker: off\n")),
            guarded("process, own, a limit per run", "process", work.policy(limit=10**9)),
            guarded(
                "process, own, a limit per order", "process", work.policy(limits=work.PER_ORDER)
            ),
            guarded("process, own, all controls", "process", work.policy(limits=work.FIVE)),
            guarded("full, own", "full", usual),
            guarded("full, ride", "full", usual, ride=True),
        ]


def gate(store: Store, text: str) -> Gate:
    """A gate that looks at nothing but what it is given here."""
    settings = config.load(store.path.parent, environ={})
    return Gate(policy=policy.loads(text), store=store, settings=settings)


@contextlib.contextmanager
def opened(folder: Path, durability: Durability, *, ride: bool | None = None) -> Iterator[Store]:
    """A store in a folder of its own; `ride` None leaves outcomes to what is usual."""
    store = Store(f"sqlite:///{folder}/bench.db", durability=durability, outcomes_ride=ride)
    try:
        yield store
    finally:
        store.close()

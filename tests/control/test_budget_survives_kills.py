"""Four processes of sixteen threads, killed at random: not one micro-dollar over the budget.

A naive control under the same load, which looks first and adds afterwards, does overspend: so
the load is one that a budget has to withstand.
"""

import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from saferun.ledger import DecisionEntry, OutcomeEntry, RecoveryEntry, parse
from saferun.store import Reader, Store
from storing import audit

BUDGET = 10_000_000
"""Ten dollars, in micro-dollars."""

MOST = 4_000
"""What one call may cost."""

PROCESSES, THREADS = 4, 16

# What a call does in either case: it takes a while, and what it spends is written down elsewhere.
TOOL = f"""
import os, random, select, sys, threading

spent = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
chance = random.Random(int(sys.argv[3]))

def buy(price):
    os.write(spent, b"%d\\n" % price)
    select.select([], [], [], chance.uniform(0, 0.06))
    if price % 20 == 0:
        raise OSError("it broke after it was paid")
    return {{"usd": price / 1_000_000}}

def crowd(work):
    crew = [threading.Thread(target=work) for _ in range({THREADS})]
    [each.start() for each in crew]
    print("started", flush=True)
    [each.join() for each in crew]
"""

GUARDED = (
    TOOL
    + f"""
import saferun
from saferun.policy import loads
from saferun.store import Store

gate = saferun.Gate(policy=loads('''
version: 1
loops: off
breaker: off
limits: [{{id: bill, sum: cost_usd, max: {BUDGET / 1e6}, per: tenant}}]
tools:
  buy:
    effect: write
    args: {{price: {{type: integer}}}}
    cost: {{most: {MOST / 1e6}, from: result.usd}}
'''), store=Store(f"sqlite:///{{sys.argv[1]}}", durability=sys.argv[4]))
safe = saferun.guard(buy, gate=gate)

def work():
    denied = 0
    with gate.run(agent="a", tenant="acme"):
        # What others hold may yet be given back, so a denial is not the end at once.
        while denied < 30:
            try:
                safe(chance.randint(1, {MOST}))
                denied = 0
            except saferun.BudgetExceeded:
                denied += 1
            except OSError:
                pass

crowd(work)
gate.close()
"""
)

NAIVE = (
    TOOL
    + f"""
import sqlite3

def work():
    book = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
    book.execute("PRAGMA synchronous = OFF")
    while True:
        price = chance.randint(1, {MOST})
        (total,) = book.execute("SELECT total FROM bill").fetchone()
        if total + price > {BUDGET}:
            return
        try:
            buy(price)
        except OSError:
            pass
        book.execute("UPDATE bill SET total = total + ?", (price,))

crowd(work)
"""
)


class Books:
    """What the database says of the budget, without writing to it."""

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(
            f"file:{file}?mode=ro", uri=True, timeout=60, check_same_thread=False
        )

    def look(self) -> tuple[int, int]:
        """What is committed and held together, and what of it is held."""
        # One statement sees one state of the database.
        rows = self._connection.execute(
            "SELECT data, NULL FROM control UNION ALL"
            " SELECT NULL, held FROM head WHERE held IS NOT NULL"
        ).fetchall()
        total = held = 0
        for data, open_call in rows:
            if data is not None:
                total += sum(msgspec.msgpack.decode(data).values())
            else:
                held += sum(amount for *_, amount in msgspec.msgpack.decode(open_call))
        return total, held

    def close(self) -> None:
        self._connection.close()


def paid(effects: Path) -> int:
    return sum(int(line) for line in effects.read_text().split()) if effects.exists() else 0


class Sampler:
    """Looks at the books for as long as the block lasts, and keeps what was wrong."""

    def __init__(self, file: Path, effects: Path) -> None:
        self.samples = 0
        self.most = 0
        self.wrong: list[str] = []
        self._over = threading.Event()
        self._books = Books(file)
        self._effects = effects
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._over.is_set():
            # Read before the books: whatever is spent by now was held before.
            spent = paid(self._effects)
            total, held = self._books.look()
            self.samples += 1
            self.most = max(self.most, total)
            if not spent <= total <= BUDGET or held > total:
                self.wrong.append(f"spent {spent}, charged {total}, of it held {held}")

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._books.close()


def crowds(script: str, file: Path, effects: Path, mode: str, kills: int, seed: int) -> int:
    """Let the processes work until none can go on, and kill so many of them; how many were."""
    chance = random.Random(seed)
    begun = 0

    def begin() -> "subprocess.Popen[bytes]":
        nonlocal begun
        begun += 1
        about = [str(file), str(effects), str(seed + begun), mode]
        process = subprocess.Popen([sys.executable, "-c", script, *about], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        return process

    crew = [begin() for _ in range(PROCESSES)]
    killed = 0
    for _ in range(kills):
        which = chance.randrange(PROCESSES)
        # The random moment is the point of the test; it waits for nothing.
        threading.Event().wait(chance.uniform(0, 0.1))
        crew[which].kill()
        crew[which].communicate()
        killed += crew[which].returncode == -9
        crew[which] = begin()
    for process in crew:
        process.communicate(timeout=300)
        assert process.returncode == 0
    return killed


def written_down(file: Path) -> tuple[int, int]:
    """What the ledger says was spent, call by call, and how many ends are unknown."""
    report = audit(file)
    assert (report.problem, report.dangling) == (None, 0)
    allowed: set[int] = set()
    cost: dict[int, int] = {}
    with Reader(file) as reader:
        for seq, body, _ in reader.rows():
            entry = parse(body).entry
            if isinstance(entry, DecisionEntry) and entry.verdict == "allow":
                allowed.add(seq)
            elif isinstance(entry, OutcomeEntry):
                assert entry.cost is not None
                cost[entry.of] = entry.cost
            elif isinstance(entry, RecoveryEntry):
                cost[entry.of] = MOST
    assert set(cost) == allowed
    return sum(cost.values()), report.unknown


def guarded(tmp_path: Path, durability: str, kills: int, seed: int) -> dict[str, int]:
    file, effects = tmp_path / "saferun.db", tmp_path / "spent"
    Store(f"sqlite:///{file}", durability="process").close()
    with Sampler(file, effects) as sampler:
        killed = crowds(GUARDED, file, effects, durability, kills, seed)
    assert sampler.wrong == []
    assert sampler.samples >= 20
    # What died last is found by whoever opens the store next, and stays charged in full.
    Store(f"sqlite:///{file}", durability="process").close()
    with closing(Books(file)) as kept:
        total, held = kept.look()
    written, unknown = written_down(file)
    assert (total, held) == (written, 0)
    assert paid(effects) <= total <= BUDGET
    # It is used up, but for what the last calls gave back: no budget is safe by being unusable.
    assert sampler.most > BUDGET - MOST
    assert total > BUDGET - PROCESSES * THREADS * MOST
    assert killed > 0
    return {"killed": killed, "samples": sampler.samples, "unknown": unknown, "total": total}


def naive(tmp_path: Path, kills: int, seed: int) -> int:
    file, effects = tmp_path / "naive.db", tmp_path / "naive-spent"
    with closing(sqlite3.connect(file, isolation_level=None)) as book:
        book.execute("PRAGMA journal_mode = WAL")
        book.execute("CREATE TABLE bill (total INTEGER)")
        book.execute("INSERT INTO bill VALUES (0)")
    crowds(NAIVE, file, effects, "", kills, seed)
    return paid(effects)


def test_a_budget_holds_at_every_sample_where_a_naive_one_is_overspent(tmp_path: Path) -> None:
    # A kill may hit where nothing is under way, and a machine be so busy that all of them do.
    folders = [tmp_path / str(number) for number in range(5)]
    for each in folders:
        each.mkdir()
    assert any(guarded(each, "process", kills=4, seed=5)["unknown"] > 0 for each in folders)
    assert any(naive(each, kills=4, seed=5) > BUDGET for each in folders)


@pytest.mark.soak
@pytest.mark.parametrize("durability", ["process", "full"])
def test_a_budget_holds_whatever_is_killed_when(tmp_path: Path, durability: str) -> None:
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = guarded(folder, durability, kills=15, seed=random.randrange(1 << 30))
        print(found, "naive:", naive(folder, kills=15, seed=number))

"""What runs have done so far, read back from the ledger for conditions that ask about it.

There is no second account of it: each process folds every entry once, as they come, and keeps
what concerns the runs that somebody has asked about. A run that goes on here after it began
elsewhere is read from its first entry.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from saferun.call import Past
from saferun.errors import StoreError
from saferun.ledger import DecisionEntry, ModelEntry, RunEntry, UserEntry, parse
from saferun.said import Texts, begun, heard

MAX_RUNS = 10_000
"""Runs whose past is kept at hand; one that was dropped is read again."""

MAX_HELD = 16_000_000
"""Characters of what people have said in them."""

_PAGE = 1_000


class _Rows(Protocol):
    """What is read here of a transaction."""

    now: int

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]: ...

    def first_entry(self, run_id: str) -> int | None: ...

    def body(self, seq: object) -> bytes: ...


class _Account:
    """What one run and its children have done."""

    __slots__ = ("began", "calls", "cost", "said", "tools")

    def __init__(self, began: int) -> None:
        self.began = began
        self.calls = 0
        self.cost = 0.0
        self.tools: set[str] = set()
        self.said: Texts = ()


class Pasts:
    """The pasts of the runs that this process has been asked about.

    Read and written under the store's write lock alone. `forget` after a commit that failed:
    entries of it may have been counted that never were.
    """

    def __init__(self) -> None:
        self._upto: int | None = None
        self._accounts: dict[str, _Account] = {}
        self._roots: dict[str, str] = {}
        self._held = 0

    def forget(self) -> None:
        self._upto = None
        self._drop()

    def _drop(self) -> None:
        self._accounts.clear()
        self._roots.clear()
        self._held = 0

    def of(self, tx: _Rows, root: str) -> Past:
        """What the family of run `root` has done up to now."""
        if self._upto is None:
            [(size,)] = tx.rows("SELECT coalesce(max(seq), -1) + 1 FROM entry")
            assert isinstance(size, int)
            self._upto = size
        self._fold(tx, self._upto, lambda _: True)
        if root not in self._accounts:
            self._begin(tx, root)
        account = self._accounts[root]
        return Past(
            began=account.began,
            calls=account.calls,
            cost_usd=account.cost,
            tools=tuple(sorted(account.tools)),
            said=account.said,
        )

    def _begin(self, tx: _Rows, root: str) -> None:
        """Read a run from its first entry, or note that it begins now."""
        if len(self._accounts) >= MAX_RUNS or self._held > MAX_HELD:
            self._drop()
        self._accounts[root] = _Account(tx.now)
        self._roots[root] = root
        first = tx.first_entry(root)
        if first is None:
            return
        if tx.body(first) == b"":
            del self._accounts[root]
            raise StoreError(
                f"Run {root} began in entry {first}, which is archived, so what it has done so far "
                "is not known here; begin a new run."
            )
        self._fold(tx, first, lambda of: of == root)

    def _fold(self, tx: _Rows, first: int, concerns: Callable[[str], bool]) -> None:
        """Add what the entries from `first` on say of the runs that it concerns."""
        assert self._upto is not None
        last = first - 1
        for seq, body in _entries(tx, first):
            last = seq
            if not body:
                # It was archived while this process looked away. Whose it was is not known, so
                # every run is read again, and one whose beginning is gone cannot be.
                self._drop()
                continue
            parsed = parse(body)
            entry = parsed.entry
            if isinstance(entry, RunEntry) and entry.event == "start":
                root = entry.root or entry.run
                if root in self._accounts and concerns(root):
                    self._roots[entry.run] = root
                    if entry.run == root:
                        account = self._accounts[root]
                        account.began = parsed.time
                        self._say(account, begun(account.said, entry.prompt, entry.unkept))
            elif isinstance(entry, DecisionEntry | ModelEntry | UserEntry) and entry.run:
                root = self._roots.get(entry.run, "")
                if root not in self._accounts or not concerns(root):
                    continue
                account = self._accounts[root]
                if isinstance(entry, UserEntry):
                    self._say(account, heard(account.said, entry.text))
                else:
                    _add(account, entry)
        self._upto = max(self._upto, last + 1)

    def _say(self, account: _Account, said: Texts) -> None:
        self._held += sum(map(len, said or ())) - sum(map(len, account.said or ()))
        account.said = said


def _add(account: _Account, entry: DecisionEntry | ModelEntry) -> None:
    if isinstance(entry, ModelEntry):
        account.cost += entry.cost_usd or 0.0
    elif entry.verdict == "allow" or entry.mode != "enforce":
        account.calls += 1
        account.tools.add(entry.tool)


def _entries(tx: _Rows, first: int) -> Iterator[tuple[int, bytes]]:
    while True:
        page = tx.rows(
            "SELECT seq, body FROM entry WHERE seq >= ? ORDER BY seq LIMIT ?", first, _PAGE
        )
        for seq, body in page:
            assert isinstance(seq, int)
            assert isinstance(body, bytes)
            yield seq, body
            first = seq + 1
        if len(page) < _PAGE:
            return

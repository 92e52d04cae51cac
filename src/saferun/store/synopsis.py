"""What each run came to, in one row of the search index: what a list of runs is made of.

Counted entry by entry as the index takes them up, so that a list of a hundred thousand runs reads
no story. Like all of the index it is derived and can be deleted; whoever can write that file can
make a list say anything, which `whole` is for: it counts one run anew, from the ledger.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from saferun.ledger import Entry, EntryError, read
from saferun.store.facets import exact
from saferun.store.near import FAILED, near_misses

if TYPE_CHECKING:
    from saferun.store.reading import Reader

SCHEMA = """
    -- What each run came to: see `synopsis`. `first` and `last` are numbers of entries.
    CREATE TABLE synopsis (
        run TEXT PRIMARY KEY, first INTEGER NOT NULL, last INTEGER NOT NULL,
        began INTEGER, ended INTEGER, agent TEXT, user TEXT, tenant TEXT, root TEXT, parent TEXT,
        frames INTEGER NOT NULL, calls INTEGER NOT NULL, denied INTEGER NOT NULL,
        asked INTEGER NOT NULL, deferred INTEGER NOT NULL, near INTEGER NOT NULL,
        failed INTEGER NOT NULL, cost INTEGER NOT NULL, stopped INTEGER NOT NULL,
        error TEXT, imported TEXT, open TEXT NOT NULL
    );
    CREATE INDEX synopsis_first ON synopsis (first);
    CREATE INDEX synopsis_last ON synopsis (last);
    CREATE INDEX synopsis_parent ON synopsis (parent, first) WHERE parent IS NOT NULL;
    CREATE INDEX synopsis_root ON synopsis (root) WHERE parent IS NOT NULL;

    -- The tools that each run has called, with the digest of the last call that was denied it.
    CREATE TABLE used (
        tool TEXT NOT NULL, run TEXT NOT NULL, denied TEXT, PRIMARY KEY (tool, run)
    ) WITHOUT ROWID;
"""

Trait: TypeAlias = Literal[
    "began", "called", "denied", "asked", "deferred", "near", "failed", "paid", "stopped"
]
"""What runs can be chosen by, as far as it is counted. `failed` holds
for a run that an error ended as well."""

TRAITS: tuple[Trait, ...] = get_args(Trait)

_TRAITS: dict[Trait, str] = {
    "began": "{of}.began IS NOT NULL",
    "called": "{of}.calls > 0",
    "denied": "{of}.denied > 0",
    "asked": "{of}.asked > 0",
    "deferred": "{of}.deferred > 0",
    "near": "{of}.near > 0",
    "failed": "({of}.failed > 0 OR {of}.error IS NOT NULL)",
    "paid": "{of}.cost > 0",
    "stopped": "{of}.stopped > 0",
}

_MICRO = 1_000_000
_MOST = 1 << 62
"""Of a sum, as far as SQLite takes one."""


_PAID = TRAITS.index("paid")


class Did(NamedTuple):
    """What one entry adds to what is counted of its run: which traits, and micro-dollars."""

    traits: tuple[Trait, ...] = ()
    cost: int = 0


class Synopsis(msgspec.Struct, kw_only=True):
    """One run: whom it was for, when, and how much of what there was in it.

    `first` and `last` are the numbers of its first and its newest entry; times are in
    microseconds since 1970, UTC, and `cost` in micro-dollars. `failed` counts calls that ended in
    an error, ran out of time, or of which nobody knows how they ended. `open` has the decisions
    whose end may yet make them near misses, or no longer: see `_nearly`.
    """

    run: str
    first: int
    last: int
    began: int | None = None
    ended: int | None = None
    agent: str | None = None
    user: str | None = None
    tenant: str | None = None
    root: str | None = None
    parent: str | None = None
    frames: int = 0
    calls: int = 0
    denied: int = 0
    asked: int = 0
    deferred: int = 0
    near: int = 0
    failed: int = 0
    cost: int = 0
    stopped: int = 0
    error: str | None = None
    imported: str | None = None
    open: str = ""

    @property
    def counts(self) -> tuple[int, ...]:
        """All that is counted, to be held against a second count."""
        return (
            *(self.frames, self.calls, self.denied, self.asked, self.deferred),
            *(self.near, self.failed, self.cost, self.stopped),
        )

    def take(self, entry: Entry, denied: dict[str, str | None]) -> Did:
        """Count one more entry. `denied` has the run's tools, each as the table `used` has it."""
        fields = entry.fields
        before = self._moving
        self.first, self.last = min(self.first, entry.seq), max(self.last, entry.seq)
        _KINDS.get(entry.kind, _nothing)(self, entry, denied)
        if entry.kind != "run":
            self._of(fields)
        after = self._moving
        # What is counted less by an entry has not happened with it.
        traits = tuple(
            name for name, was, now in zip(TRAITS, before, after, strict=True) if now > was
        )
        return Did(traits, after[_PAID] - before[_PAID])

    @property
    def _moving(self) -> tuple[int, ...]:
        """How much of each trait there is, in their order."""
        return (
            *(self.began or 0, self.calls, self.denied, self.asked, self.deferred),
            *(self.near, self.failed, self.cost, self.stopped),
        )

    def _of(self, fields: Mapping[str, Any]) -> None:
        """Whom it is for, as any of its entries says where the first one cannot be read."""
        user = fields.get("user")
        self.agent = self.agent or fields.get("agent")
        self.user = self.user or (user if isinstance(user, str) else None)
        self.tenant = self.tenant or fields.get("tenant")


def _bounds(found: Synopsis, entry: Entry, _: dict[str, str | None]) -> None:
    fields = entry.fields
    if fields.get("event") != "start":
        found.ended, found.error = entry.time, fields.get("error")
        return
    user = fields.get("user", {}).get("id")
    found.began = entry.time
    found.agent, found.tenant = fields.get("agent"), fields.get("tenant")
    found.user = user if isinstance(user, str) else None
    found.root, found.parent = fields.get("root"), fields.get("parent")
    found.imported = fields.get("imported")


def _decided(found: Synopsis, entry: Entry, denied: dict[str, str | None]) -> None:
    fields = entry.fields
    verdict, tool = fields["verdict"], fields["tool"]
    answers = fields.get("approval") is not None and verdict != "ask"
    if not answers:
        # The question, and what follows from its answer, are one frame.
        found.frames += 1
        found.calls += 1
    found.denied += verdict == "deny"
    found.deferred += verdict == "defer"
    if near_misses(fields, denied.get(tool)):
        found.near += 1
        _note(found, f"{entry.seq}")
    if verdict == "deny":
        denied[tool] = fields.get("digest") or ""
    else:
        denied.setdefault(tool, None)


def _ended(found: Synopsis, entry: Entry, _: dict[str, str | None]) -> None:
    fields = entry.fields
    _nearly(found, fields)
    if fields["status"] in FAILED:
        found.failed += 1
    if fields.get("by") is not None and found.failed:
        # It was unknown before, and counted as that.
        found.failed -= 1
    _spent(found, fields.get("cost"))


OPEN = 32
"""Decisions that are remembered until they end, the newest; a run has few at a time."""


def _nearly(found: Synopsis, fields: Mapping[str, Any]) -> None:
    """Count a call that went wrong as a near miss, unless it is one already.

    A number in `open` is that of a near miss by its decision. With `!` before it, it is one by how
    it was thought to have ended, and by that alone.
    """
    some = found.open.split()
    by_decision, by_end = f"{fields['of']}", f"!{fields['of']}"
    if by_decision in some:
        return
    failed = fields["status"] in FAILED
    if failed and by_end not in some:
        found.near += 1
        _note(found, by_end)
    elif not failed and by_end in some:
        found.near -= 1
        found.open = " ".join(each for each in some if each != by_end)


def _note(found: Synopsis, number: str) -> None:
    found.open = " ".join((*found.open.split(), number)[-OPEN:])


def _turn(found: Synopsis, entry: Entry, _: dict[str, str | None]) -> None:
    found.frames += 1
    if entry.kind == "model":
        _spent(found, _micro(entry.fields.get("cost_usd")))


def _called(found: Synopsis, entry: Entry, denied: dict[str, str | None]) -> None:
    found.frames += 1
    found.calls += 1
    denied.setdefault(entry.fields["tool"], None)
    _spent(found, _micro(entry.fields.get("cost_usd")))


def _asked(found: Synopsis, entry: Entry, _: dict[str, str | None]) -> None:
    found.asked += entry.fields.get("event") == "requested"


def _turned(found: Synopsis, entry: Entry, _: dict[str, str | None]) -> None:
    found.frames += 1
    found.stopped = int(entry.fields.get("event") == "stopped")


def _nothing(found: Synopsis, entry: Entry, denied: dict[str, str | None]) -> None:
    """Other kinds tell nothing that is counted."""


_KINDS = {
    "run": _bounds,
    "decision": _decided,
    "outcome": _ended,
    "recovery": _ended,
    "model": _turn,
    "user": _turn,
    "call": _called,
    "approval": _asked,
    "control": _turned,
}


def _micro(dollars: Any) -> int:
    return round(dollars * _MICRO) if isinstance(dollars, int | float) else 0


def _spent(found: Synopsis, cost: Any) -> None:
    if isinstance(cost, int):
        found.cost = max(-_MOST, min(found.cost + cost, _MOST))


def run_of(entry: Entry) -> str | None:
    """The run that an entry is part of the story of, None where it is of none."""
    fields = entry.fields
    if entry.kind == "control" and fields.get("scope") == "run":
        # A switch for the run itself, whoever has turned it.
        return fields.get("value")
    run = fields.get("run")
    return run if isinstance(run, str) else None


class Synopses:
    """The synopses of runs, while entries are taken up. `write` what has changed at the end."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._open: dict[str, tuple[Synopsis, dict[str, str | None]]] = {}
        # As it stands in the table: a run may have used any number of tools.
        self._kept: dict[str, dict[str, str | None]] = {}

    def take(self, entry: Entry) -> Did:
        run = run_of(entry)
        if run is None:
            return Did()
        run = exact(run)
        if run not in self._open:
            self._open[run] = self._begun(run, entry.seq)
            self._kept[run] = dict(self._open[run][1])
        found, denied = self._open[run]
        return found.take(entry, denied)

    def _begun(self, run: str, seq: int) -> tuple[Synopsis, dict[str, str | None]]:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM synopsis WHERE run = ?",  # noqa: S608 - columns of ours
            (run,),
        ).fetchone()
        if row is None:
            return Synopsis(run=run, first=seq, last=seq), {}
        used = self._connection.execute("SELECT tool, denied FROM used WHERE run = ?", (run,))
        return _made(row), dict(used.fetchall())

    def write(self) -> None:
        rows, used = [], []
        for found, denied in self._open.values():
            rows.append(tuple(_plain(each) for each in msgspec.structs.astuple(found)))
            kept = self._kept[found.run]
            used += [
                (exact(tool), found.run, digest)
                for tool, digest in denied.items()
                if kept.get(tool, "none") != digest
            ]
        self._connection.executemany(
            f"REPLACE INTO synopsis ({_COLUMNS}) VALUES ({_PLACES})",  # noqa: S608
            rows,
        )
        self._connection.executemany("REPLACE INTO used VALUES (?, ?, ?)", used)
        self._open.clear()
        self._kept.clear()


_COLUMNS = ", ".join(Synopsis.__struct_fields__)
_PLACES = ", ".join("?" * len(Synopsis.__struct_fields__))


def _plain(value: Any) -> Any:
    return exact(value) if isinstance(value, str) else value


def _made(row: tuple[Any, ...]) -> Synopsis:
    """A synopsis from its row. Raises ValidationError where that is none that is written."""
    return msgspec.convert(dict(zip(Synopsis.__struct_fields__, row, strict=True)), Synopsis)


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs are wanted: those that have all that is said here. See `Index.runs` for `text`.

    `since` and `until` are in microseconds since 1970, UTC, and hold for when a run began. Of
    `traits` a run has to have each. `parent` is the run right within which it has to have begun.
    With `tops`, only runs are wanted that are within no other that is known; what else is asked
    for may then hold for any run within one of them instead.

    `during` are times from the one up to, and without, the other: what the traits speak of, and a
    call of `tool`, then happened in between; without any, anything did. `rule` is one, or a
    control, that has denied the run something. Both are asked of the run itself.
    """

    traits: tuple[Trait, ...] = ()
    during: tuple[int, int] | None = None
    rule: str | None = None
    agent: str | None = None
    user: str | None = None
    tool: str | None = None
    since: int | None = None
    until: int | None = None
    text: str = ""
    parent: str | None = None
    tops: bool = False

    @property
    def narrow(self) -> bool:
        """Whether it asks for single entries, which no synopsis has."""
        return self.during is not None or self.rule is not None


class Condition(NamedTuple):
    """A choice as SQL, with what stands in it."""

    where: str
    values: tuple[object, ...]


def condition(choice: Choice) -> Condition:
    """What a choice asks of a synopsis; its `text`, `during` and `rule` are no part of that."""
    where, values = _held(choice, "synopsis")
    if choice.tops and where:
        below, more = _held(choice, "one")
        own, within = " AND ".join(where), " AND ".join(below)
        # Each way has an index of its own.
        where = [f"({own} OR EXISTS ({_FAMILY} AND {within}))"]
        values += more
    if choice.tops:
        where.append(_TOP)
    if choice.parent is not None:
        where.append("parent = ?")
        values.append(exact(choice.parent))
    for limit, test in ((choice.since, "began >= ?"), (choice.until, "began < ?")):
        if limit is not None:
            where.append(test)
            values.append(min(max(limit, -_MOST), _MOST))
    return Condition(" AND ".join(where) or "1", tuple(values))


_FAMILY = "SELECT 1 FROM synopsis AS one WHERE one.root = synopsis.run AND one.parent IS NOT NULL"
_TOP = (
    "(parent IS NULL OR NOT EXISTS (SELECT 1 FROM synopsis AS top WHERE top.run = synopsis.root"
    " AND top.run != synopsis.run AND (top.root IS NULL OR top.root = top.run)))"
)
"""One whose own top is not at hand, or is itself within something, is listed too: whatever runs
say of each other, each of them stands in the list or is within one that does."""


def _held(choice: Choice, of: str) -> tuple[list[str], list[object]]:
    """What has to hold for one run, whichever of a family that is."""
    where = [] if choice.narrow else [_TRAITS[each].format(of=of) for each in choice.traits]
    values: list[object] = []
    for column in ("agent", "user"):
        if (value := getattr(choice, column)) is not None:
            where.append(f"{of}.{column} = ?")
            values.append(exact(value))
    if choice.tool is not None:
        where.append(
            f"EXISTS (SELECT 1 FROM used WHERE used.tool = ? AND used.run = {of}.run)"  # noqa: S608
        )
        values.append(exact(choice.tool))
    return where, values


class Within(msgspec.Struct, frozen=True, kw_only=True):
    """What some runs came to together: how many `runs` there are, and sums as `Synopsis` has them.

    `stopped` counts those that are stopped now.
    """

    runs: int = 0
    frames: int = 0
    calls: int = 0
    denied: int = 0
    asked: int = 0
    deferred: int = 0
    near: int = 0
    failed: int = 0
    cost: int = 0
    stopped: int = 0

    @property
    def halted(self) -> int:
        """Calls in them that were denied, put off or asked about."""
        return self.denied + self.asked + self.deferred

    @property
    def loud(self) -> bool:
        """Whether there is anything in them that people look for."""
        return self.halted + self.failed + self.stopped > 0


def together(some: Iterable[Within]) -> Within:
    """The sums of some sums."""
    columns = zip(*map(msgspec.structs.astuple, some), strict=True)
    sums = [max(-_MOST, min(sum(column), _MOST)) for column in columns]
    return Within(**dict(zip(Within.__struct_fields__, sums, strict=False)))


MOST_WITHIN = 100_000
"""Runs within another that are counted."""

# `UNION` has each run once, so that runs which are within each other come to an end. Sums may be
# of what was written to overflow, which `total` does not.
_SUMS = ", ".join(
    f"CAST(min(max(total({name}), -4e18), 4e18) AS INTEGER)"
    for name in Within.__struct_fields__
    if name != "runs"
)
BELOW = f"""
    WITH RECURSIVE below (run, began) AS (
        SELECT run, first FROM synopsis WHERE parent = ?1 AND run != ?1
        UNION
        SELECT each.run, below.began FROM below CROSS JOIN synopsis AS each
            ON each.parent = below.run WHERE each.run != ?1
        LIMIT {MOST_WITHIN}
    )
    SELECT below.began, count(*), {_SUMS} FROM below CROSS JOIN synopsis USING (run)
    GROUP BY below.began
"""  # noqa: S608 - columns of ours
"""For each run right within one, the number of its first entry and what it and all below comes to.
"""


def summed(rows: Iterable[tuple[Any, ...]]) -> dict[int, Within]:
    """What `BELOW` finds, by the number of the entry that each child begins with."""
    names = Within.__struct_fields__
    return {
        began: Within(**dict(zip(names, counts, strict=True)))
        for began, *counts in rows
        if type(began) is int
    }


def selected(where: str) -> str:
    """The statement that has the synopses of which something holds."""
    return f"SELECT {_COLUMNS} FROM synopsis WHERE {where}"  # noqa: S608 - words of ours


def made(rows: Iterable[tuple[Any, ...]]) -> list[Synopsis]:
    """Synopses from their rows; one that was changed into none is left out."""
    found = []
    for row in rows:
        try:
            found.append(_made(row))
        except (msgspec.ValidationError, ValueError):
            continue
    return found


Integrity: TypeAlias = Literal["whole", "changed", "archived", "unread"]
"""Whether the ledger still has what a list says of a run; `unread` where nobody looked."""


class Checked(NamedTuple):
    """What looking at the entries of a run has found: those `changed`, and those `archived`."""

    integrity: Integrity
    changed: tuple[int, ...] = ()
    archived: tuple[int, ...] = ()


def whole(reader: "Reader", found: Synopsis, seqs: Iterable[int]) -> Checked:
    """Hold a synopsis against the ledger: its entries against their leaves, its counts anew."""
    again = Synopsis(run=found.run, first=found.first, last=found.last)
    denied: dict[str, str | None] = {}
    changed: list[int] = []
    archived: list[int] = []
    for seq, body, _ in reader.several(list(seqs)):
        try:
            again.take(read(body), denied)
        except (EntryError, KeyError, TypeError, AttributeError):
            (archived if reader.away(seq) else changed).append(seq)
    if changed or (not archived and again.counts != found.counts):
        return Checked("changed", tuple(changed), tuple(archived))
    return Checked("archived" if archived else "whole", (), tuple(archived))

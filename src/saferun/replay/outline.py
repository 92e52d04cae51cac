"""The outline of a run: one small row a frame, for whoever has to have all of them at once.

Ten thousand frames are shown, stepped through and searched by their rows; what a frame holds is
loaded when somebody looks at it. Rows are folded from the ledger's entries as they come, so the
outline of a run that goes on grows by what is new. Pure.
"""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from string import ascii_letters
from typing import Any, Literal, TypeAlias

import msgspec

from saferun import ledger, marks
from saferun.marks import Mark
from saferun.replay.frames import Kind
from saferun.store.near import FAILED, NEAR, Near, near_misses, weighed

Wanted: TypeAlias = Literal["denied", "asked", "halted", "error", "near", "tool", "changed"]
"""What one can jump to: `halted` is denied or asked, `tool` the same tool as in this frame, and
`changed` a frame of which an entry is no longer what was written."""

STOPPED = "Diverged"
"""The error that a run ends with which a rerun was stopped in: its last frame was never made."""

_STOPPED = f'"{STOPPED}"'.encode()
_KINDS: dict[Kind, str] = {"model": "m", "user": "u", "call": "c", "control": "x", "changed": "!"}
_VERDICTS = {"allow": "a", "ask": "?", "deny": "d", "defer": "l"}
_STATUSES = {
    "ok": "o",
    "error": "e",
    "timeout": "t",
    "cancelled": "c",
    "unknown": "u",
    "not_started": "n",
}
_LETTERS = dict(zip(marks.OF_FRAMES, ascii_letters, strict=False))
_SHADOW, _ASKED, _CHANGED = 16, 32, 64
"""Beside the bits of `NEAR`: it was not enforced, people were asked, an entry was changed."""

_NEAR = (1, 2, 4, 8, 128, 256, 512, 1024)
"""The bits of `NEAR`, in its order."""

_DIGEST = 12
"""Bytes of what rows are compared by."""


class Row(msgspec.Struct, kw_only=True):
    """One frame in short.

    `seqs` are the numbers of its entries, and `at` is when the first was written, in microseconds
    since 1970, UTC. `latency` is in microseconds, `cost` in micro-dollars. `verdict` is what was
    decided in the end, `enforced` whether it counted, and `status` what came of it. `changed` are
    entries that are no longer what was written.

    `unmade` says that it is what a rerun was stopped at: nothing was decided, and nothing came of
    it.

    `label` is what a person says last of stopping it.

    Two calls were made with the same arguments where `given` is the same, and gave the same
    where `gave` is; None where nobody can tell.
    """

    number: int
    kind: Kind
    at: int
    seqs: list[int]
    tool: str | None = None
    verdict: str | None = None
    enforced: bool = True
    asked: bool = False
    modified: bool = False
    status: str | None = None
    latency: int | None = None
    cost: int | None = None
    near: tuple[Near, ...] = ()
    label: ledger.Mark | None = None
    changed: list[int] = []
    unmade: bool = False
    given: bytes | None = None
    plain: bytes | None = None
    gave: bytes | None = None

    @property
    def seq(self) -> int:
        return self.seqs[0]

    @property
    def mark(self) -> Mark:
        """The frame at a glance."""
        if self.changed:
            return marks.CHANGED
        return marks.of(
            self.kind,
            self.verdict,
            asked=self.asked,
            modified=self.modified,
            event=self.status,
        )

    def has(self, wanted: Wanted) -> bool:
        match wanted:
            case "denied":
                return self.verdict == "deny"
            case "asked":
                return self.asked
            case "halted":
                return self.asked or self.verdict in ("deny", "defer")
            case "error":
                return self.status in FAILED
            case "near":
                return bool(self.near)
            case "changed":
                return bool(self.changed)
            case "tool":
                return self.tool is not None


class _Light(msgspec.Struct, kw_only=True):
    """An entry as far as a row needs it: values stay the bytes that they are."""

    time: int
    kind: str
    event: str | None = None
    nudge: str | None = None
    turn: str | None = None
    tool: str | None = None
    digest: str | None = None
    verdict: str | None = None
    mode: str = "enforce"
    modified: bool = False
    approval: str | None = None
    id: str | None = None
    of: int | None = None
    status: str | None = None
    mark: ledger.Mark | None = None
    latency: int | None = None
    cost: int | None = None
    cost_usd: float | None = None
    args: msgspec.Raw = msgspec.Raw(b"")
    result: msgspec.Raw = msgspec.Raw(b"")
    output: msgspec.Raw = msgspec.Raw(b"")
    text: msgspec.Raw = msgspec.Raw(b"")
    error: msgspec.Raw = msgspec.Raw(b"")
    echo: str | None = None
    blobs: Mapping[str, int] = {}
    reasons: tuple[dict[str, Any], ...] = ()
    shadow: tuple[dict[str, Any], ...] = ()
    other: dict[str, Any] | None = None
    close: dict[str, Any] = {}


_DECODER = msgspec.json.Decoder(_Light)


class Outline:
    """The rows of one run, and which entry belongs to which. `take` entries in their order."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.rows: list[Row] = []
        self.size = 0
        """The number of the entry after the newest that it knows."""
        self.over = False
        """Whether it has come to its end, and not to where a rerun was stopped."""
        self.error: str | None = None
        """The type of the error that it ended with, None where it did with none."""
        self.turns: dict[str, int] = {}
        """The entries of its model turns, by their names."""
        self._decided: dict[int, Row] = {}
        self._asked: dict[str, Row] = {}
        self._denied: dict[str, str | None] = {}
        self._edited: set[str] = set()
        self._frames: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def row(self, number: int) -> Row:
        """The row of a frame; frames count from 1."""
        return self.rows[number - 1]

    def number(self, seq: int) -> int | None:
        """The frame that an entry belongs to, None for one of none."""
        return self._frames.get(seq)

    def take(self, seq: int, body: bytes) -> None:
        """Take up an entry that its leaf vouches for. Raises ValueError where it is none."""
        try:
            said = _DECODER.decode(body)
        except msgspec.MsgspecError as problem:
            raise ValueError(f"entry {seq} is none: {problem}") from None
        self.size = seq + 1
        row = self._placed(seq, said)
        if row is not None:
            self._frames[seq] = row.number
            if row.seqs[-1] != seq:
                row.seqs.append(seq)

    def take_changed(self, seq: int, body: object) -> None:
        """Take up the number of an entry that is no longer what was written.

        What it says now is not believed; only whether it names a frame that there is already is
        looked at, so that the fault is shown there and not beside it.
        """
        self.size = seq + 1
        said = None
        if isinstance(body, bytes):
            try:
                said = _DECODER.decode(body)
            except msgspec.MsgspecError:
                said = None
        row = None
        if said is not None:
            named = said.approval if said.kind == "decision" else said.id
            row = self._decided.get(-1 if said.of is None else said.of)
            row = row or (self._asked.get(named) if named is not None else None)
        if row is None:
            row = self._begun(seq, "changed", 0 if said is None else said.time)
            # What settles it belongs to it, whatever it was.
            self._decided[seq] = row
        row.changed.append(seq)
        self._frames[seq] = row.number
        if seq not in row.seqs:
            row.seqs.append(seq)

    def _placed(self, seq: int, said: _Light) -> Row | None:
        match said.kind:
            case "model" | "user" | "control":
                row = self._begun(seq, said.kind, said.time)
                row.latency, row.cost = said.latency, _micro(said.cost_usd)
                row.gave = _hash(said.output or said.text)
                row.status = said.event
                if said.turn is not None:
                    self.turns.setdefault(said.turn, seq)
                return row
            case "call":
                row = self._begun(seq, "call", said.time)
                row.tool, row.status, row.cost = said.tool, said.status, _micro(said.cost_usd)
                row.plain, row.gave = _hash(said.args), _given_back(said)
                return row
            case "decision":
                return self._decision(seq, said)
            case "approval" if said.id in self._asked:
                row = self._asked[said.id]
                row.asked = True
                if said.event == "edited":
                    self._edited.add(said.id or "")
                return row
            case "outcome" | "recovery" if said.of in self._decided:
                row = self._decided[said.of]
                row.status = said.status
                row.near = tuple(each for each in row.near if each != "failed")
                if said.status in FAILED:
                    row.near += ("failed",)
                if said.latency:
                    row.latency = said.latency
                if said.cost is not None:
                    row.cost = said.cost
                row.gave = _given_back(said)
                return row
            case "run" if said.event == "end" and bytes(said.error) == _STOPPED and self.rows:
                self.rows[-1].unmade = True
            case "run" if said.event == "end":
                self.over, self.error = True, _text(said.error)
            case "label" if said.of is not None and said.of in self._frames:
                row = self.row(self._frames[said.of])
                row.label = None if said.mark == "none" else said.mark
                return row
        return None

    def _decision(self, seq: int, said: _Light) -> Row:
        row = self._asked.get(said.approval) if said.approval is not None else None
        if row is None:
            row = self._begun(seq, "call", said.time)
        tool = said.tool or ""
        row.tool, row.verdict, row.enforced = tool, said.verdict, said.mode == "enforce"
        row.modified = said.modified
        row.given = bytes.fromhex(said.digest)[:_DIGEST] if said.digest else None
        row.plain = _hash(said.args)
        edited = said.approval in self._edited
        row.near = near_misses(weighed(said), self._denied.get(tool), edited=edited)
        if said.verdict == "deny":
            self._denied[tool] = said.digest or ""
        self._decided[seq] = row
        if said.approval is not None:
            self._asked[said.approval] = row
        return row

    def _begun(self, seq: int, kind: Kind, at: int) -> Row:
        row = Row(number=len(self.rows) + 1, kind=kind, at=at, seqs=[seq])
        self.rows.append(row)
        return row

    def next(self, number: int, wanted: Wanted, *, forward: bool = True) -> int | None:
        """The nearest frame after `number`, or before it, that is what is wanted.

        From 0 on forwards, and from one past the last backwards, all frames are looked at.
        """
        tool = self.row(number).tool if wanted == "tool" and 0 < number <= len(self) else None
        if wanted == "tool" and tool is None:
            return None
        for row in self._beyond(number, forward=forward):
            if row.has(wanted) and (tool is None or row.tool == tool):
                return row.number
        return None

    def previous_of(self, number: int) -> Row | None:
        """The call of the same tool before a frame, None where there is none."""
        found = self.next(number, "tool", forward=False)
        return None if found is None else self.row(found)

    def _beyond(self, number: int, *, forward: bool) -> Iterator[Row]:
        if forward:
            yield from self.rows[max(number, 0) :]
        else:
            yield from reversed(self.rows[: max(number - 1, 0)])

    def document(self, first: int = 1) -> dict[str, Any]:
        """Rows from number `first` on as JSON, by columns, in under 20 bytes a frame once packed.

        `kind`, `verdict` and `status` have a character a frame (`.` for none) that `legend` reads,
        and so has `mark` a letter, for a colour, an icon and a word;
        `tool` is a place in `tools`, -1 for none. `at` (milliseconds) and `seq` are steps from the
        frame before. `latency` is in microseconds and `cost` in micro-dollars, 0 for none. `marks`
        are bits: those of `near`, in its order, 1 to 8 and 128 to 1024; 16 for a decision that was
        not enforced, 32 where people were asked, 64 where an entry was changed.
        """
        tools = list(dict.fromkeys(row.tool for row in self.rows if row.tool is not None))
        places = {tool: place for place, tool in enumerate(tools)}
        rows = self.rows[max(first, 1) - 1 :]
        moments = [row.at // 1000 for row in rows]
        seqs = [row.seq for row in rows]
        return {
            "first": max(first, 1),
            "frames": len(self.rows),
            "size": self.size,
            "legend": {
                "kind": {mark: kind for kind, mark in _KINDS.items()},
                "verdict": {mark: verdict for verdict, mark in _VERDICTS.items()},
                "status": {mark: status for status, mark in _STATUSES.items()},
                "near": NEAR,
                "mark": {letter: mark for mark, letter in _LETTERS.items()},
            },
            "tools": tools,
            "kind": "".join(_KINDS[row.kind] for row in rows),
            "verdict": "".join(_VERDICTS.get(row.verdict or "", ".") for row in rows),
            "status": "".join(_STATUSES.get(row.status or "", ".") for row in rows),
            "mark": "".join(_LETTERS[row.mark] for row in rows),
            "tool": [places.get(row.tool or "", -1) for row in rows],
            "at": _steps(moments),
            "seq": _steps(seqs),
            "latency": [row.latency or 0 for row in rows],
            "cost": [row.cost or 0 for row in rows],
            "marks": [_marks(row) for row in rows],
        }


def _marks(row: Row) -> int:
    return (
        sum(_NEAR[NEAR.index(each)] for each in row.near)
        | _SHADOW * (not row.enforced)
        | _ASKED * row.asked
        | _CHANGED * bool(row.changed)
    )


def _steps(values: list[int]) -> list[int]:
    return [after - before for before, after in zip([0, *values], values, strict=False)]


def _micro(dollars: float | None) -> int | None:
    return None if dollars is None else round(dollars * 1e6)


def _text(raw: msgspec.Raw) -> str | None:
    said = msgspec.json.decode(raw) if bytes(raw) else None
    return said if isinstance(said, str) else None


def _hash(raw: msgspec.Raw) -> bytes | None:
    data = bytes(raw)
    return blake2b(data, digest_size=_DIGEST).digest() if data else None


def _given_back(said: _Light) -> bytes | None:
    """What a result is compared by. The name of a large one is salted, and tells nothing."""
    if said.blobs:
        return None if said.echo is None else said.echo.encode()
    return _hash(said.result)

"""`saferun control stop` and `resume`: so that the very next call anywhere is refused, or not.

A person does it, with the secret that `saferun login` keeps: no tool of an agent has one. Nor
does that keep out whoever runs as the same user of the operating system, who can enrol anew. Who
and why stands in the ledger. What is stopped need not be known here yet, since an agent may
have to be stopped before its first call; so an unknown name is told and not refused. The id of a
run is made as the run begins, so one that nobody has heard of is a typo.
"""

from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeAlias

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, meant, settings, spelled
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    moment,
    put,
    screen,
    told,
)
from saferun.config import sqlite_path
from saferun.control import MAX_NAME, MAX_REASON, Stoppable, Switch

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.store import Reader, Store

AgentOption: TypeAlias = Annotated[
    str | None, typer.Option("--agent", metavar="NAME", help="All runs of an agent.")
]
ToolOption: TypeAlias = Annotated[
    str | None, typer.Option("--tool", metavar="NAME", help="A tool, whoever calls it.")
]
TenantOption: TypeAlias = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="All runs for a tenant.")
]
UserOption: TypeAlias = Annotated[
    str | None, typer.Option("--user", metavar="ID", help="All runs for a user.")
]
RunOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--run", metavar="RUN", help="A run with its children, by the beginning of its id."
    ),
]
AllOption: TypeAlias = Annotated[bool, typer.Option("--all", help="All tools, for everybody.")]

NEWEST = 1_000
"""Runs among which one is looked for that a mistyped id may have meant."""


def stop(
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; for people.")],
    agent: AgentOption = None,
    tool: ToolOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
    run: RunOption = None,
    everything: AllOption = False,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Refuse every call of an agent, a tool, a tenant, a user, a run, or of all, from now on.

    Exits 0 where it holds, and 1 where it was stopped already or the secret is not yours.
    """
    one = _one(agent, tool, tenant, user, run, everything=everything)
    return _turned(one, person, store, reason, on=True, as_json=as_json)


def resume(
    reason: Annotated[
        str | None, typer.Option("--reason", metavar="TEXT", help="Why; for people.")
    ] = None,
    agent: AgentOption = None,
    tool: ToolOption = None,
    tenant: TenantOption = None,
    user: UserOption = None,
    run: RunOption = None,
    everything: AllOption = False,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Let go on what was stopped, by a person or by the control of loops.

    Exits 0 where it goes on, and 1 where it was not stopped or the secret is not yours.
    """
    one = _one(agent, tool, tenant, user, run, everything=everything)
    return _turned(one, person, store, reason, on=False, as_json=as_json)


class _One(NamedTuple):
    """What is meant, as it was said."""

    scope: Stoppable
    value: str | None

    def __str__(self) -> str:
        return "everything" if self.value is None else f"{self.scope} {inert(self.value, 80)}"


def _one(
    agent: str | None,
    tool: str | None,
    tenant: str | None,
    user: str | None,
    run: str | None,
    *,
    everything: bool,
) -> _One:
    """The one thing that the command line names. Raises CannotError."""
    given: list[tuple[Stoppable, str | None]] = [
        ("agent", agent),
        ("tool", tool),
        ("tenant", tenant),
        ("user", user),
        ("run", run),
    ]
    said = [
        _One(scope, _text(f"--{scope}", value, MAX_NAME))
        for scope, value in given
        if value is not None
    ]
    if everything:
        said.append(_One("all", None))
    if len(said) != 1:
        ways = "--agent, --tool, --tenant, --user, --run or --all"
        raise CannotError(f"Say what: {'only one' if said else 'one'} of {ways}.")
    return said[0]


def _text(option: str, value: str, most: int) -> str:
    if not 0 < len(spelled(option, value)) <= most or "\0" in value:
        raise CannotError(f"{option} takes 1 to {most:,} characters.")
    return value


def _turned(
    one: _One, person: str | None, store: str | None, reason: str | None, *, on: bool, as_json: bool
) -> int:
    from saferun import redact
    from saferun.store import Reader, Turn, WrongSecretError
    from saferun.store.controls import switches
    from saferun.store.shared import shared_store

    if reason is not None:
        reason = redact.text(_text("--reason", reason, MAX_REASON))
    chosen = settings(store)
    path = sqlite_path(chosen.store)
    # Reading it first: where there is no store, none is made to stop nothing in.
    if not path.exists():
        raise CannotError(
            f"There is no store at {path} yet; run saferun init, and then saferun login NAME --new"
            " with your own name."
        )
    with Reader(path) as reader:
        opened: Store = shared_store(chosen.store, chosen)
        by, secret = credential(person, opened)
        before = switches(reader)
        if one.scope == "run" and one.value is not None:
            one = _One("run", _whole(reader, one.value, before))
        switch = Switch(scope=one.scope, value=one.value, by=by, reason=reason)
        seq, refused = None, None
        try:
            seq = opened.commit(Turn(switch=switch, on=on, credential=secret))
        except WrongSecretError as problem:
            refused = str(problem)
            told(refused)
        done = _Done(one, switch, seq, before, switches(reader), on=on, refused=refused)
        if as_json:
            document(done.document())
        elif refused is None:
            _print(screen(), done)
        # After the turn, which must not wait for it.
        if on and seq is not None:
            _warn(reader, one)
    return 0 if seq is not None else 1


def _whole(reader: "Reader", given: str, stopped: list[Switch]) -> str:
    """The id of the run that is meant: any unique beginning will do. Raises CannotError."""
    from saferun.gauges import runs_known, runs_meant

    found = runs_meant(reader, given, stopped)
    if len(found) > 1:
        some = ", ".join(found[:3])
        raise CannotError(f"{len(found):,} runs begin with {given!r}, such as {some}; say more.")
    if not found:
        near = meant(given, runs_known(reader, stopped)[:NEWEST], 3)
        raise CannotError(f"There is no run {given!r} in {reader.path}{near}")
    return found[0]


class _Done(NamedTuple):
    """What became of it: `seq` is the entry that says so, None where nothing has changed.

    `refused` is why that is so, where it is not the person's own secret.
    """

    one: _One
    switch: Switch
    seq: int | None
    before: list[Switch]
    after: list[Switch]
    on: bool
    refused: str | None

    def document(self) -> dict[str, object]:
        return {
            "changed": self.seq is not None,
            "stopped": self.on,
            "scope": self.one.scope,
            "value": self.one.value,
            "by": self.switch.by,
            "reason": self.switch.reason,
            "seq": self.seq,
            "refused": self.refused,
            "also_stopped": msgspec.to_builtins(self.others),
        }

    @property
    def others(self) -> list[Switch]:
        return [each for each in self.after if not self._same(each)]

    @property
    def standing(self) -> Switch | None:
        """The switch that was on before."""
        return next((each for each in self.before if self._same(each)), None)

    def _same(self, other: Switch) -> bool:
        return (other.scope, other.value) == (self.one.scope, self.one.value)


def _print(console: "Console", done: _Done) -> None:
    from rich.text import Text

    from saferun.gauges import by_whom

    mark, word = (DENIED, "stopped") if done.on else (ALLOWED, "resumed")
    said = Text(str(done.one))
    if done.seq is None:
        lead = Text("! ", "yellow")
        said.append(" is stopped already" if done.on else " is not stopped")
    else:
        lead = Text(f"{mark.icon} {word}  ", mark.style)
        said.append(f", in entry {done.seq}" if done.on else f" by {done.switch.by}")
        if done.on:
            said.append(
                ". Every call from here on is refused; what was let through before runs to its end."
            )
    if done.standing is not None:
        said.append(f"; it was stopped by {by_whom(done.standing, moment)}")
    put(console, beside(console, lead, said))
    if not done.on and done.others:
        many = counted(len(done.others), "other thing is", "other things are")
        put(
            console,
            beside(
                console,
                Text("! ", "yellow"),
                f"{many} still stopped; saferun control status says which",
            ),
        )


def _warn(reader: "Reader", one: _One) -> None:
    """Say where a name is one that nobody has heard of: it may be a typo."""
    from saferun.gauges import unheard

    known = unheard(reader, one.scope, one.value)
    if known is not None:
        told(f"nothing here has heard of {one} so far{meant(one.value or '', known)}")

"""`saferun policy suggest`: rules that would have stopped a call, and what each would have done.

Nothing is decided here: a rule goes into the file in shadow, with a test case made from the call,
and a person promotes it once they have seen what it does.
"""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, near, settings
from saferun.cli.policy.named import policy_file
from saferun.cli.run.place import FrameArgument, Place, place_of
from saferun.cli.run.told import history_of
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    facts,
    progress,
    put,
    raw,
    screen,
    shown,
    told,
)

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.policy import Finding
    from saferun.replay.suggest import (
        Effect,
        Example,
        Frames,
        History,
        Known,
        Suggested,
        Suggestions,
    )
    from saferun.store.index import Index

MOST = 40
"""Rules that can be asked for."""

_VALUE = 60
"""Characters of an argument of the call."""


def suggest(
    frame: FrameArgument,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", metavar="POLICY", help="The policy that the rule is for; the call's own."
        ),
    ] = None,
    ask: Annotated[
        list[str] | None,
        typer.Option("--ask", metavar="WHO", help="Ask these groups or people, and do not deny."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=MOST, help="How many rules to try.")
    ] = 6,
    write: Annotated[
        str | None,
        typer.Option("--write", metavar="ID", help="Put this rule into the policy, in shadow."),
    ] = None,
    patch: Annotated[
        bool,
        typer.Option("--patch", help="Print the change as a diff, and write nothing."),
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Suggest rules that would have stopped a call.

    With what each would have done to all others. Exits 0 where there is one, and 1 where there
    is none, or the policy denies the call already.
    """
    from saferun.replay.suggest import File, history, suggestions
    from saferun.store.openings import Openings

    with history_of(store, None) as (reader, index):
        place = place_of(index, frame)
        row = place.playback.outline.row(place.number)
        named = policy if policy is not None else _own_policy(place, store)
        path = policy_file(named, store)
        before = contents(path, _most())
        with progress("reading", 1):
            known = history(
                index,
                row.tool or "",
                environment=settings(store).environment,
                openings=Openings(reader).opening,
            )
        incident = known.at(row.seq)
        if incident is None:
            raise CannotError(f"The call in {place} cannot be read; run saferun ledger verify.")
        for most in (limit, MOST):
            with progress("trying rules", len(known.calls)) as done:
                found = suggestions(
                    File(before, near(path)),
                    known,
                    incident,
                    effect="ask" if ask else "deny",
                    ask=ask or (),
                    most=most,
                    progress=done,
                )
            if write is None or not found.found or found.named(write) is not None:
                break
            # It may have been seen further down than is looked at by default.
        about = _About(index, place, path, before, known, incident)
        if write is not None or patch:
            return _write(about, found, write, patch=patch, as_json=as_json)
        if as_json:
            document(_document(about, found))
        else:
            _print(screen(), about, found)
    return 0 if found.found else 1


class _About(NamedTuple):
    """What is looked at: a call, the policy as it was read, and the calls beside it."""

    history: "Index"
    place: Place
    path: Path
    before: bytes
    known: "History"
    incident: "Known"


def _most() -> int:
    from saferun.policy.source import MAX_BYTES

    return MAX_BYTES


def _own_policy(place: Place, store: str | None) -> str:
    """The policy that decided on the call, or else the configured one. Raises CannotError."""
    decision = place.playback.frame(place.number).frame.decision or {}
    named = (decision.get("policy") or {}).get("name") or settings(store).policy
    if named is None:
        raise CannotError("No policy decided on this call; name one with --policy.")
    return str(named)


def _write(
    about: _About, found: "Suggestions", own: str | None, *, patch: bool, as_json: bool
) -> int:
    """Put a rule into the file, and a case into its tests; or show how that would look."""
    from saferun import amending

    if not found.found or found.place is None:
        _print(screen(stderr=True), about, found)
        return 1
    chosen = found.found[0] if own is None else found.named(own)
    if chosen is None and own in found.heard:
        raise CannotError(f"{own} stands in {near(about.path)} already, in shadow.")
    if chosen is None:
        known = ", ".join(each.candidate.id for each in found.found)
        raise CannotError(f"No rule {own!r} is suggested for this call; there are {known}.")
    draft = amending.in_shadow(
        about.path,
        near,
        found.place,
        chosen,
        about.incident,
        about.known.hidden,
        f"{about.place}",
    )
    if patch:
        raw(draft.patch.encode())
    else:
        amending.make(draft.changes)
    if draft.caseless is not None:
        told(f"No test case was made: {draft.caseless}.")
    if patch:
        return 0
    if as_json:
        files = [each.name for each in draft.changes]
        document({"rule": chosen.candidate.id, "written": files, "mode": "shadow"})
        return 0
    from rich.text import Text

    console = screen()
    rule = inert(chosen.candidate.id)
    lead = Text(f"{ALLOWED.icon} ", ALLOWED.style)
    where = " and ".join(each.name for each in draft.changes)
    put(console, beside(console, lead, f"{rule} is in {where}, in shadow: it stops nothing yet"))
    line = f"saferun policy review {about.path.stem} says what it would have stopped since"
    put(console, beside(console, Text("  "), line))
    return 0


def _document(about: _About, found: "Suggestions") -> dict[str, Any]:
    from saferun.replay.suggest import Frames

    frames = Frames(about.history)
    return {
        "frame": f"{about.place}",
        "tool": about.known.tool,
        "policy": near(about.path),
        "calls": len(about.known.calls),
        "stopped": list(found.stopped),
        "heard": list(found.heard),
        "suggestions": [_one(each, found, frames) for each in found.found],
    }


def _one(each: "Suggested", found: "Suggestions", frames: "Frames") -> dict[str, Any]:
    effect = each.effect
    return {
        "id": each.candidate.id,
        "kind": each.candidate.kind,
        "effect": each.candidate.answer,
        "part": each.candidate.part,
        "rule": each.candidate.rule(shadow=True),
        "text": each.text,
        "newly": {
            "denied": effect.newly_denied,
            "asked": effect.newly_asked,
            "allowed": effect.newly_allowed,
        },
        "undecided": effect.undecided,
        "fine": effect.fine,
        "touched": effect.touched,
        "drift": {"touched": each.drift.touched, "of": each.drift.of},
        "precision": None
        if effect.precision is None
        else {"right": effect.right, "of": effect.labelled},
        "known_bad": effect.known_bad,
        "missed": effect.missed,
        "near": effect.near,
        "look": {
            "touched": _named(frames, effect.touched_examples),
            "missed": _named(frames, effect.missed_examples),
            "near": _named(frames, effect.near_examples),
        },
        "findings": msgspec.to_builtins(_findings(each, found)),
    }


def _findings(each: "Suggested", found: "Suggestions") -> "list[Finding]":
    """What there is to say of the policy with the rule in it."""
    from saferun.policy.amend import AmendError

    assert found.place is not None
    try:
        return found.place.findings(found.place.amended(each.candidate, shadow=True))
    except AmendError:
        return []


def _named(frames: "Frames", examples: "list[Example]") -> list[str]:
    """Recorded calls as people name them, the newest first."""
    return [frames.named(each) for each in reversed(examples)]


def _print(console: "Console", about: _About, found: "Suggestions") -> None:
    from rich.text import Text

    from saferun.replay.suggest import Frames

    call = about.incident.call
    args = {} if call is None else call.args
    head = Text.assemble(
        (inert(about.known.tool, 80), "bold"), (f"  {inert(str(about.place))}", "dim")
    )
    put(console, [head])
    facts(console, *((inert(name, 40), shown(value, _VALUE)) for name, value in args.items()))
    console.print()
    if found.stopped:
        rules = ", ".join(map(inert, found.stopped))
        lead = Text(f"{DENIED.icon} ", DENIED.style)
        put(console, beside(console, lead, f"{near(about.path)} denies it as it is: {rules}"))
        return
    if found.heard:
        rules = ", ".join(map(inert, found.heard))
        said = f"{near(about.path)} would stop it already, by what is in shadow: {rules}"
        put(console, beside(console, Text("! ", "yellow"), said))
        console.print()
    if not found.found and found.heard:
        return
    if not found.found:
        said = "Nothing sets this call apart, and not even a rule for all calls would load."
        put(console, beside(console, Text("  "), said))
        return
    effect = found.found[0].effect
    # Of limits, what the call's own run did before it is none.
    fine = max(each.effect.fine for each in found.found)
    many = f"{counted(effect.calls, 'recorded call')} of {inert(about.known.tool, 80)}"
    bad = f", {effect.known_bad:,} known to be bad" if effect.known_bad else ""
    put(console, [Text(f"{many}: {fine:,} fine so far as is known{bad}", "dim")])
    frames = Frames(about.history)
    for number, each in enumerate(found.found, 1):
        console.print()
        _print_rule(console, number, each, frames)
        for finding in _findings(each, found):
            put(console, beside(console, Text("   ! ", "yellow"), inert(finding.message)))
    best = found.found[0].candidate.id
    console.print()
    ways = f"saferun policy suggest {quote(inert(str(about.place)))} --write {best}"
    ways += " puts it in, in shadow"
    if found.place is not None and found.place.elsewhere is not None:
        ways = f"{inert(found.place.elsewhere)} has the entry of the tool: rules go in by hand"
    put(console, [Text(ways, "dim")])


def _print_rule(console: "Console", number: int, each: "Suggested", frames: "Frames") -> None:
    from rich.text import Text

    effect, column = each.effect, "   "
    lead = Text(f"{number}  ", "dim")
    put(console, beside(console, lead, Text(inert(each.candidate.id), "bold")))
    for line in each.text.splitlines():
        put(console, beside(console, Text(column), Text(inert(line))))
    facts(console, *((f" {label}", said) for label, said in _rows(each, effect, frames)))


def _rows(each: "Suggested", effect: "Effect", frames: "Frames") -> list[tuple[str, str]]:
    def looked(examples: "list[Example]") -> str:
        named = ", ".join(map(inert, _named(frames, examples)))
        return f"  {named}" if named else ""

    newly = [
        (effect.newly_denied, "newly denied"),
        (effect.newly_asked, "newly asked"),
        (effect.newly_allowed, "newly allowed"),
        (effect.undecided, "cannot decide"),
    ]
    rows = [("history", ", ".join(f"{many:,} {word}" for many, word in newly if many) or "nothing")]
    fine = counted(effect.fine, "fine call")
    rows.append(("touches", f"{effect.touched:,} of {fine}{looked(effect.touched_examples)}"))
    if each.drift.of and each.drift.touched:
        half = f"{each.drift.touched:,} of {each.drift.of:,} newer ones, made from the older half"
        rows.append(("drifts", half))
    if effect.precision is not None:
        labelled = counted(effect.labelled, "labelled hit")
        rows.append(("precision", f"{effect.precision:.0%}, {effect.right:,} of {labelled}"))
    if effect.known_bad:
        missed = f"{effect.missed:,} of {effect.known_bad:,} known to be bad"
        rows.append(("misses", missed + looked(effect.missed_examples)))
    if effect.near:
        near_ones = counted(effect.near, "near miss", "near misses")
        rows.append(("also", f"{near_ones}{looked(effect.near_examples)}"))
    return rows

"""`saferun doctor`: what is configured, what is reachable, what is wrong, and what to do.

It looks and changes nothing: it makes no store and no key, and asks nobody.
"""

import os
import platform
import shlex
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from saferun import config
from saferun.approval.inert import inert
from saferun.call import size, span
from saferun.cli.options import JsonOption, StoreOption, contents, near, settings
from saferun.cli.screen import (
    ALLOWED,
    DENIED,
    beside,
    counted,
    document,
    moment,
    put,
    screen,
)
from saferun.config import Config, SigningTable
from saferun.errors import ConfigError, PolicyError, SafeRunError, StoreError

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.approval import People
    from saferun.store import Anchored, Extent, Reader

_PACKAGES = ("saferun-sdk", "msgspec", "jsonschema-rs", "cryptography", "ruamel.yaml")

_MOST_POLICIES = 100
_LOW, _TOO_LOW = 1_000_000_000, 100_000_000
"""Bytes left on the disk of the store: when to say so, and when to call it wrong."""

_AHEAD, _LARGE = 60, 5_000_000_000
"""Days until the disk is full, and bytes of a store, at which archiving is advised."""

_SKEW = 5_000_000
"""Microseconds that a clock may be behind the newest entry before it is worth a word."""


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: what was found, and where it is not fine, what to do."""

    name: str
    state: Literal["ok", "warning", "error"]
    found: str
    advice: str | None = None


def doctor(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Say what is configured, what is reachable and what is wrong.

    Exits 1 where something is wrong. What is only worth a look leaves it at 0.
    """
    checks = list(_checks(store))
    wrong = any(check.state == "error" for check in checks)
    if as_json:
        document({"ok": not wrong, "checks": msgspec.to_builtins(checks)})
    else:
        _print(screen(), checks)
    return 1 if wrong else 0


def _checks(store: str | None) -> Iterator[Check]:
    yield from _python()
    try:
        chosen = settings(store)
    except SafeRunError as problem:
        advice = "Correct it; until then nothing that SafeRun guards can run."
        yield Check("configuration", "error", str(problem), advice)
        return
    yield _configured(chosen, store)
    yield from _policies(chosen)
    yield _approval(chosen)
    yield from _people(chosen)
    path = config.sqlite_path(chosen.store)
    yield from _store(chosen, path)
    yield _disk(path)


def _python() -> Iterator[Check]:
    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES)
    yield Check("packages", "ok", versions)


def _configured(chosen: Config, store: str | None) -> Check:
    found = "defaults alone: there is no saferun.toml here or above"
    if chosen.file is not None:
        found = near(chosen.file)
    if os.environ.get("SAFERUN_CONFIG"):
        found += ", which SAFERUN_CONFIG names"
    won = [variable for variable in _VARIABLES if os.environ.get(variable)]
    if store is not None:
        won = ["--store", *(variable for variable in won if variable != "SAFERUN_STORE")]
    return Check("configuration", "ok", f"{found}; {', '.join(won)} won over it" if won else found)


_VARIABLES = tuple(
    f"SAFERUN_{key}"
    for key in ("STORE", "LEDGER", "DURABILITY", "POLICIES", "POLICY", "POLICY_KEY", "APPROVAL")
)


def _policies(chosen: Config) -> Iterator[Check]:
    from saferun.following import follow

    every = sorted(chosen.policies.glob("*.y*ml")) if chosen.policies.is_dir() else []
    files = [file for file in every if not file.stem.endswith(".test")]
    for file in [file for file in files if not file.stem.endswith(".test")][:_MOST_POLICIES]:
        yield _policy_file(file)
    if chosen.policy is None:
        yield Check(
            "policy",
            "warning",
            "no policy: tools are observed, and only loops, breakers and stops deny",
            "Name one as `policy` in saferun.toml, or where a tool is wrapped.",
        )
        return
    try:
        # As a gate that starts now would find it: a file, or what was published to the store.
        following = follow(None, chosen, lambda: config.sqlite_path(chosen.store))
        assert following is not None
        policy = following.standing.live
    except (ConfigError, PolicyError) as problem:
        advice = "Correct it, or name another as `policy`; no tool can be wrapped under this one."
        yield Check("policy", "error", str(problem), advice)
        return
    found = f"{policy.name} @ {policy.version[:12]} decides where a tool names none"
    if policy.mode == "shadow":
        advice = "Say `mode: enforce` in it once its decisions are what you want."
        yield Check("policy", "warning", f"{found}; in shadow, so it stops nothing", advice)
    else:
        yield Check("policy", "ok", found)


def _policy_file(file: Path) -> Check:
    from saferun.policy import check
    from saferun.policy.source import MAX_BYTES

    try:
        findings = check(contents(file, MAX_BYTES), near(file))
    except SafeRunError as problem:
        return Check("policy file", "error", str(problem), "Correct it, or take it away.")
    errors = sum(finding.severity == "error" for finding in findings)
    advice = f"`saferun policy check {near(file)}` says where."
    if errors:
        return Check("policy file", "error", f"{near(file)}: {counted(errors, 'error')}", advice)
    if findings:
        many = counted(len(findings), "warning")
        return Check("policy file", "warning", f"{near(file)}: {many}", advice)
    return Check("policy file", "ok", near(file))


def _approval(chosen: Config) -> Check:
    from saferun.channel import channel

    named = chosen.approval.default
    if not named:
        advice = "Name a channel under [approval] as `default`, or where a tool is wrapped."
        return Check("approval", "warning", "no channel: what needs a person is denied", advice)
    names = [named] if isinstance(named, str) else named
    try:
        whys = {name: channel(name, chosen).unreachable() for name in names}
    except SafeRunError as problem:
        return Check("approval", "error", str(problem), "Correct `default` under [approval].")
    out = [f"{name}: {why}" for name, why in whys.items() if why is not None]
    if out:
        advice = "Calls that need a person are denied at once wherever that is so of all channels."
        return Check("approval", "warning", "; ".join(out), advice)
    return Check("approval", "ok", f"{', '.join(names)}, reachable from here")


def _people(chosen: Config) -> Iterator[Check]:
    """Who is there to be asked, and whether that is enough for what policies want."""
    from saferun.approval import People

    known = People(chosen.people, chosen.groups, chosen.approval.break_glass)
    wrong = list(_wanted(chosen, known))
    strays = {
        group: sorted(set(names) - set(chosen.people)) for group, names in chosen.groups.items()
    }
    for group, names in strays.items():
        if names:
            what = f"{', '.join(names)} of the group {group} stands under no [people]"
            advice = "Nothing can be sent to whoever has no [people.NAME] of their own."
            wrong.append(Check("people", "warning", inert(what, 400), advice))
    yield from wrong
    if not wrong:
        groups = counted(len(chosen.groups), "group")
        people = counted(len(chosen.people), "person", "people")
        yield Check("people", "ok", f"{people} and {groups} may be asked")


def _wanted(chosen: Config, known: "People") -> Iterator[Check]:
    """What policies demand of people and can never get."""
    from saferun.policy import load

    every = sorted(chosen.policies.glob("*.y*ml")) if chosen.policies.is_dir() else []
    files = [file for file in every if not file.stem.endswith(".test")][:_MOST_POLICIES]
    for file in files:
        try:
            demands = load(file).demands()
        except SafeRunError:
            # That it does not load is said already.
            continue
        for demand in demands:
            names = [*demand.of, *(name for step in demand.escalate for name in step.to)]
            nobody = [name for name in dict.fromkeys(names) if not known.meant([name])]
            where = f"the rule {demand.rule} of {near(file)}"
            # Where no name stands: all who may, or anybody at all while nobody is known.
            may = known.whom(demand, max((step.after for step in demand.escalate), default=0))
            if nobody:
                what = f"{where} asks {', '.join(nobody)}, and that means nobody here"
                advice = "Say who that is under [groups] or [people]; until then it denies."
                yield Check("people", "error", inert(what, 400), advice)
            elif may is not None and len(may) < demand.approvals:
                what = f"{where} wants {demand.approvals} to approve, of {len(may)}"
                advice = "Add people to its groups, or ask for fewer: until then it denies."
                yield Check("people", "warning", inert(what, 400), advice)


def _requests(path: Path) -> Iterator[Check]:
    """What waits for people, what could not be brought to them, and what runs without them."""
    from saferun.store import Requests

    with Requests(path) as requests:
        if not requests.kept:
            # The first process that opens the store to write brings it up to date.
            return
        now = time.time_ns() // 1000
        waiting, failed = requests.open(now), requests.undelivered()
        granted = requests.grants(now)
    if waiting:
        oldest = min(each.question.asked for each in waiting)
        age = span(max(0, time.time_ns() // 1000 - oldest))
        many = counted(len(waiting), "request waits", "requests wait")
        yield Check("requests", "ok", f"{many} for people, the oldest for {age}")
    for request, channel, why in failed[:MOST_CONTROLS]:
        what = f"{request} could not be brought by {channel}: {why}"
        advice = "It is tried again until its deadline; other channels are not held up by it."
        yield Check("requests", "warning", inert(what, 400), advice)
    if len(failed) > MOST_CONTROLS:
        advice = "`saferun approval list` has all that wait."
        many = f"and {len(failed) - MOST_CONTROLS:,} more that could not be brought"
        yield Check("requests", "warning", many, advice)
    if granted:
        many = counted(len(granted), "grant is", "grants are")
        yield Check("grants", "ok", f"{many} in force; `saferun approval grants` lists them")


def _store(chosen: Config, path: Path) -> Iterator[Check]:
    from saferun.store import Reader, sqlite

    try:
        sqlite.check_location(path)
        if not path.exists():
            yield _to_be_made(path)
            return
        with Reader(path) as reader:
            yield from _opened(chosen, reader)
    except SafeRunError as problem:
        advice = "Until then every guarded call is denied."
        yield Check("store", "error", str(problem), advice)


def _to_be_made(path: Path) -> Check:
    folder = _standing(path)
    if not os.access(folder, os.W_OK):
        what = f"{near(path)} is not there, and {near(folder)} cannot be written"
        return Check(
            "store", "error", what, "Give this user write access, or name another `store`."
        )
    advice = "`saferun init` makes it, or else the first guarded call."
    return Check("store", "warning", f"{near(path)} is not there yet", advice)


def _standing(path: Path) -> Path:
    """The nearest folder above a path that is there."""
    return next(each for each in path.absolute().parents if each.is_dir())


def _opened(chosen: Config, reader: "Reader") -> Iterator[Check]:
    from saferun.store.sizes import extent_of, health_of
    from saferun.store.unsettled import count_unknown

    path, health = reader.path, health_of(reader)
    found = f"{near(path)}, {size(health.size)}, {chosen.durability} durability"
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        advice = "Give this user write access to the file and its folder."
        yield Check("store", "error", f"{found}; it cannot be written", advice)
    elif health.ledger != chosen.ledger:
        what = f"{found}; it holds the ledger {health.ledger!r}, not {chosen.ledger!r}"
        yield Check("store", "error", what, "Set `ledger` to that, or name another `store`.")
    else:
        yield Check("store", "ok", found)
    entries = counted(health.entries, "entry", "entries")
    yield Check("ledger", "ok", f"{health.origin}, {entries}")
    calls = f"{health.open_calls:,} without an outcome, {health.waiting:,} waiting for a person"
    yield Check("calls", "ok", calls)
    yield from _requests(path)
    unknown = count_unknown(reader)
    if unknown:
        advice = "`saferun ledger recover` lists them, and settles one once you know."
        many = counted(unknown, "call")
        yield Check("unknown", "warning", f"nobody knows how {many} ended", advice)
    yield from _controls(reader)
    yield _checkpoint(reader, health.entries, health.checkpoint)
    yield from _anchors(chosen, reader, health.entries)
    yield from _archives(reader)
    yield _growth(extent_of(reader), _free(path))
    yield from _keys(reader, chosen.signing)
    yield from _sensitive(reader)
    yield _clock(reader, health.entries)


def _sensitive(reader: "Reader") -> Iterator[Check]:
    """What is kept of people, encrypted, and whether an erasure has been finished."""
    from saferun.store.openings import Openings

    openings = Openings(reader)
    subjects = openings.subjects()
    people = counted(subjects, "person", "people")
    if not openings.reaches():
        file = reader.path.parent / "keys" / f"{reader.ledger}.subjects.key"
        what = f"kept of {people}, and the key {near(file)} is missing or another one"
        advice = "Put the original back: until then, calls with sensitive values are denied."
        yield Check("sensitive", "error", what, advice)
    elif subjects:
        yield Check("sensitive", "ok", f"kept of {people}, each under a key of their own")
    due = openings.unfinished()
    if due is not None:
        what = "the key that was used has yet to be renewed" if due == "key" else _LOG
        advice = "The next process that opens the store goes on; saferun ledger erase does, too."
        yield Check("erasure", "warning", f"not finished: {what}", advice)


_LOG = "what was erased cannot be decrypted, and has yet to be cut from the store's log"


MOST_CONTROLS = 20
"""Switches, and breakers, that are told one by one."""


def _controls(reader: "Reader") -> Iterator[Check]:
    """What is stopped, and which breakers are not closed."""
    from saferun.gauges import by_whom
    from saferun.store.usage import Bounds, usage

    found = usage(reader, Bounds(reader, lambda _: None), most=1)
    ailing = [tool for tool in found.breakers if tool.state != "closed"]
    by_people, circled = found.by_people, found.by_itself
    for switch in by_people[:MOST_CONTROLS]:
        stopped, options = "everything", "--all"
        if switch.value is not None:
            stopped = f"{switch.scope} {inert(switch.value, 80)}"
            options = f"--{switch.scope} {shlex.quote(switch.value)}"
        said = f"{stopped} is stopped, by {by_whom(switch, moment)}"
        advice = f"`saferun control resume {options}` lets it go on."
        yield Check("stopped", "warning", said, advice)
    if circled:
        many = counted(len(circled), "run is", "runs are")
        advice = (
            "`saferun control status` lists the newest, `saferun run show RUN` says why, and"
            " `saferun control resume --run RUN` lets one go on."
        )
        yield Check("stopped", "warning", f"{many} stopped for going in circles", advice)
    advice = "`saferun control status` says since when, and how it fares."
    for tool in ailing[:MOST_CONTROLS]:
        whom = "" if tool.tenant is None else f" for {inert(tool.tenant, 80)}"
        said = f"{inert(tool.tool, 80)}{whom} is left alone: {tool.state} after failures"
        yield Check("breaker", "warning", said, advice)
    more = sum(max(0, len(each) - MOST_CONTROLS) for each in (by_people, ailing))
    if more:
        advice = "`saferun control status` tells more of them."
        yield Check("controls", "warning", f"and {more:,} more", advice)
    if not found.stopped and not ailing:
        yield Check("controls", "ok", "nothing is stopped, and no breaker is open")


def _checkpoint(reader: "Reader", entries: int, newest: int | None) -> Check:
    try:
        # Against the newest that was ever signed, of which an old copy may know nothing.
        reader.hold()
    except SafeRunError as problem:
        advice = "Until then every guarded call is denied."
        return Check("checkpoint", "error", str(problem), advice)
    advice = "`saferun ledger checkpoint > FILE` makes one; keep it out of reach of this machine."
    if newest is None:
        return Check("checkpoint", "warning", "none yet, so nothing anchors the ledger", advice)
    past = counted(entries - newest, "entry", "entries")
    return Check("checkpoint", "ok", f"newest over {newest:,} entries, {past} past it")


def _anchors(chosen: Config, reader: "Reader", entries: int) -> Iterator[Check]:
    """How far each place outside has the ledger, and what is past the newest of them."""
    from saferun.anchor import places
    from saferun.store.anchors import anchored

    try:
        known = places(chosen)
    except SafeRunError as problem:
        yield Check("anchor", "error", str(problem), "Until then no place is gone to.")
        return
    if not known:
        return
    kept = {place.name: place for place in anchored(reader)}
    late = 3e6 * chosen.anchors.seconds
    for place in known:
        yield _anchor(f"{place.kind} {place.name}", kept.get(place.name), entries, late)
    taken = (kept[place.name] for place in known if place.name in kept)
    newest = max((place.size for place in taken if place.size == _stated(place.note)), default=0)
    past = counted(max(0, entries - newest), "entry is", "entries are")
    yield Check("anchored", "ok", f"{newest:,} of {entries:,} outside; {past} past that")


def _anchor(place: str, kept: "Anchored | None", entries: int, late: float) -> Check:
    go = "`saferun ledger anchor` goes there now, and `saferun serve` regularly."
    if kept is None:
        # A store that was put back from a copy remembers none of what came after that.
        return Check("anchor", "warning", f"{place}: this store remembers no visit to it", go)
    if kept.size and kept.size != _stated(kept.note):
        what = f"{place}: the note that it took is not of the {kept.size:,} entries remembered"
        return Check("anchor", "error", what, f"What is remembered was changed. {go}")
    now = time.time_ns() // 1000
    had = f"{kept.size:,} entries, {span(max(0, now - kept.time))} ago" if kept.size else "nothing"
    if kept.against:
        advice = "Somebody has changed this ledger, or an older copy of it was put back."
        return Check("anchor", "error", f"{place}: {inert(kept.failed or '', 600)}", advice)
    if kept.failed is not None:
        said = f"{place} has {had}. {inert(kept.failed, 600)}"
        return Check("anchor", "warning", said, f"It was tried {span(now - kept.tried)} ago. {go}")
    if kept.size < entries and now - kept.time > late:
        return Check("anchor", "warning", f"{place} has {had}", go)
    return Check("anchor", "ok", f"{place} has {had}")


def _stated(note: bytes) -> int | None:
    """For how many entries a note says that it vouches, None where it is none."""
    from saferun.ledger import NoteError
    from saferun.ledger.succession import stated

    try:
        return stated(note).size
    except NoteError:
        return None


def _archives(reader: "Reader") -> Iterator[Check]:
    """Whether what was archived is what the ledger's key has let go."""
    try:
        reader.archives()
    except SafeRunError as problem:
        yield Check("archive", "error", str(problem), "Somebody has changed this ledger.")


def _growth(extent: "Extent", free: int) -> Check:
    """How large the store is, how fast it grows, and when to archive."""
    held = extent.database - extent.reusable
    parts = [f"{size(extent.database)} and a log of {size(extent.log)}"]
    if extent.reusable:
        parts.append(f"{size(extent.reusable)} free to be used again")
    if extent.archived:
        parts.append(f"{counted(extent.archived, 'entry', 'entries')} archived")
    if extent.daily is None or extent.each is None:
        return Check("growth", "ok", "; ".join(parts))
    month = 30 * extent.daily * extent.each
    parts.append(f"{extent.daily:,.0f} entries a day of {size(extent.each)}: {size(month)} a month")
    days = (free + extent.reusable) * 30 / month if month else _AHEAD
    advice = "`saferun ledger archive FOLDER --keep 90d` moves old entries to another disk."
    if days < _AHEAD:
        parts.append(f"the disk is full in {counted(int(days), 'day')}")
        return Check("growth", "warning", "; ".join(parts), advice)
    if held > _LARGE:
        return Check("growth", "warning", "; ".join(parts), advice)
    return Check("growth", "ok", "; ".join(parts))


def _keys(reader: "Reader", signing: SigningTable) -> Iterator[Check]:
    folder = reader.path.parent / "keys"
    beside = folder / f"{reader.ledger}.signing.key"
    signs = Path(signing.file) if signing.file is not None else beside
    for file, variable, use, held in (
        (
            folder / "digest.key",
            "SAFERUN_DIGEST_KEY",
            "the store cannot be opened",
            reader.hold_digests,
        ),
        (
            signs,
            "SAFERUN_SIGNING_KEY",
            "nothing can be signed",
            partial(reader.signer, given=signing),
        ),
    ):
        if signing.command and file == signs and not os.environ.get(variable):
            program = inert(Path(signing.command[0]).name, 80)
            found = shutil.which(signing.command[0])
            advice = "Install it, or correct `command` under [signing]; nothing can be signed."
            if found is None:
                yield Check("key", "error", f"{program}, which signs, is not there", advice)
            else:
                yield _held(held, f"{program} signs; the key never comes here", use)
            continue
        if os.environ.get(variable):
            yield _held(held, f"{variable} from the environment", use)
            continue
        try:
            mode = stat.S_IMODE(file.stat().st_mode)
        except OSError as problem:
            advice = f"Put it back, or set {variable}; without it {use}."
            yield Check("key", "error", f"{near(file)}: {problem.strerror}", advice)
            continue
        if mode & 0o077:
            what = f"{near(file)} is {mode:04o}: others than its owner may read it"
            yield Check("key", "error", what, f"chmod 600 {near(file)}")
        else:
            yield _held(held, f"{near(file)}, {mode:04o}", use)


def _held(held: Callable[[], object], found: str, use: str) -> Check:
    """A key that is here, and may be another than the store's, or none at all."""
    try:
        held()
    except StoreError as problem:
        return Check("key", "error", str(problem), f"Until then {use}.")
    return Check("key", "ok", found)


def _clock(reader: "Reader", entries: int) -> Check:
    from saferun.ledger import EntryError, parse

    body = next(reader.bodies([entries - 1]), b"")
    try:
        newest = parse(body).time
    except (EntryError, TypeError):
        advice = "`saferun ledger verify` says what is wrong."
        return Check("clock", "error", "the newest entry cannot be read", advice)
    behind = newest - time.time_ns() // 1000
    if behind > _SKEW:
        what = f"{span(behind)} behind the newest entry"
        return Check("clock", "warning", what, "New entries bear its time until the clock is past.")
    return Check("clock", "ok", f"the newest entry is {span(max(-behind, 0))} old")


def _free(path: Path) -> int:
    """Bytes left on the disk of the store."""
    return shutil.disk_usage(_standing(path)).free


def _disk(path: Path) -> Check:
    folder, free = _standing(path), _free(path)
    found = f"{size(free)} free at {near(folder)}"
    advice = "Free some: where an entry cannot be written, its call is denied."
    if free < _TOO_LOW:
        return Check("disk", "error", found, advice)
    return Check("disk", "warning" if free < _LOW else "ok", found, advice if free < _LOW else None)


_MARKS: Mapping[str, tuple[str, str]] = {
    "ok": (ALLOWED.icon, ALLOWED.style),
    "warning": ("!", "yellow"),
    "error": (DENIED.icon, DENIED.style),
}


def _print(console: "Console", checks: list[Check]) -> None:
    from rich.text import Text

    column = max(len(check.name) for check in checks)
    before = ""
    for check in checks:
        icon, style = _MARKS[check.state]
        name = "" if check.name == before else check.name
        lead = Text.assemble((f"{icon}  ", style), (f"{name:{column}}  ", "dim"))
        said = Text(inert(check.found))
        if check.advice is not None:
            said.append(f"\n{inert(check.advice)}", style)
        put(console, beside(console, lead, said))
        before = check.name
    wrong, odd = (sum(check.state == state for check in checks) for state in ("error", "warning"))
    icon, style = _MARKS["error" if wrong else "warning" if odd else "ok"]
    said = Text(f"\n{icon}  {_are(wrong, 'wrong') if wrong else 'Nothing is wrong'}", style)
    console.print(said.append(f"; {_are(odd, 'worth a look')}." if odd else "."))


def _are(many: int, what: str) -> str:
    return f"{counted(many, 'thing')} {'is' if many == 1 else 'are'} {what}"

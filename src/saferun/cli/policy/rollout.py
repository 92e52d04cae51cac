"""`saferun policy publish`, `versions`, `promote`, `rollback`, `key`: which version decides.

Every act is a person's own: it asks for the secret that `saferun login` keeps, and stands in
the ledger. Workers whose configuration says `policies = "store"` follow within a second.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, near, settings
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.policy.signing import signer
from saferun.cli.screen import ALLOWED, beside, counted, document, moment, put, screen

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from saferun.policy import Policy
    from saferun.policy.assignment import Assignment
    from saferun.replay.live import Trial
    from saferun.store import Store
    from saferun.store.versions import Kept

NameArgument: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="A policy's name.")]
AsOption: TypeAlias = Annotated[
    str | None, typer.Option("--as", metavar="PERSON", help="Who you are, where several are.")
]
SignOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--sign", metavar="KEYFILE", help="Sign it; see saferun policy key."),
]
UrgentOption: TypeAlias = Annotated[
    bool, typer.Option("--urgent", help="For runs as well that have begun already.")
]


def publish(
    policy: PolicyArgument,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Only say beside the live one what it would decide.")
    ] = False,
    canary: Annotated[
        str | None,
        typer.Option("--canary", metavar="SHARE", help="Decide for a share of the runs: 10%."),
    ] = None,
    person: AsOption = None,
    sign: SignOption = None,
    urgent: UrgentOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Put a version of a policy into force, or on trial.

    A policy that fails its check or its tests is refused.
    """
    from saferun.policy import assignment
    from saferun.store import Version

    if shadow and canary is not None:
        raise CannotError("A candidate is tried by --shadow or by --canary, not by both.")
    share = 0 if canary is None else _share(canary)
    loaded = _sound(policy_file(policy, store))
    how: dict[str, Any] = {"urgent": urgent or loaded.document.urgent, "share": share}
    if shadow or canary is not None:
        how["trial"] = "shadow" if shadow else "canary"

    def act(history: "list[Assignment]", who: dict[str, Any]) -> "Assignment":
        before = history[-1] if history else None
        return assignment.published(before, loaded.version, **how, **who)

    version = Version(loaded.name, loaded.version, loaded.canonical)
    return _done(loaded.name, act, person, sign, store, version, as_json=as_json)


def promote(
    name: NameArgument,
    person: AsOption = None,
    sign: SignOption = None,
    urgent: UrgentOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have the candidate decide for all runs from now on."""
    from saferun.policy import assignment

    def act(history: "list[Assignment]", who: dict[str, Any]) -> "Assignment":
        return assignment.promoted(_last(name, history), urgent=urgent, **who)

    return _done(name, act, person, sign, store, None, as_json=as_json)


def rollback(
    name: NameArgument,
    version: Annotated[
        str | None, typer.Argument(metavar="[VERSION]", help="Its first digits are enough.")
    ] = None,
    person: AsOption = None,
    sign: SignOption = None,
    urgent: UrgentOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Go back to the version before.

    A candidate is taken back first; where there is none, an earlier version is live again.
    """
    from saferun.policy import assignment

    def act(history: "list[Assignment]", who: dict[str, Any]) -> "Assignment":
        _last(name, history)
        whole = None if version is None else _meant(name, version, store)
        return assignment.rolled_back(history, whole, urgent=urgent, **who)

    return _done(name, act, person, sign, store, None, as_json=as_json)


def _done(
    name: str,
    act: "Callable[[list[Assignment], dict[str, Any]], Assignment]",
    person: str | None,
    sign: Path | None,
    store: str | None,
    version: Any,
    *,
    as_json: bool,
) -> int:
    """Make the next assignment from all before it, and have it hold."""
    from saferun.store import Assign, Reader
    from saferun.store.shared import shared_store
    from saferun.store.versions import history_of

    chosen = settings(store)
    opened: Store = shared_store(chosen.store, chosen)
    by, secret = credential(person, opened)
    with Reader(opened.path) as reader:
        history = history_of(reader, name)
    who = {"by": by, "at": opened.now()}
    if not history:
        who |= {"name": name, "origin": opened.origin}
    said = act(history, who)
    if sign is None and chosen.policy_key is not None:
        raise CannotError("Workers here take what is signed alone (`policy_key`); add --sign.")
    note = said.sealed(None if sign is None else signer(sign))
    opened.commit(Assign(assignment=said, note=note, credential=secret, version=version))
    if as_json:
        document(msgspec.to_builtins(said))
    else:
        _print_done(screen(), said)
    return 0


def _sound(path: Path) -> "Policy":
    """A policy whose check finds no error and whose tests all pass. Raises CannotError."""
    from saferun.policy import check, loads
    from saferun.policy.source import MAX_BYTES
    from saferun.suites.file import load as suite
    from saferun.suites.run import found, results

    text = contents(path, MAX_BYTES)
    errors = [each for each in check(text, str(path)) if each.severity == "error"]
    if errors:
        first = f"{near(path)}:{errors[0].line or 1}: {errors[0].message}"
        raise CannotError(f"Nothing was published: {counted(len(errors), 'error')}; {first}")
    policy = loads(text, str(path))
    for tests in found(path.parent, path):
        for result in results(suite(tests), policy):
            if result.failure is not None:
                raise CannotError(
                    f"Nothing was published: the test {result.case.name!r} in {near(tests)} "
                    f"fails; saferun policy test {near(path)} says why."
                )
    return policy


def _share(given: str) -> int:
    found = re.fullmatch(r"([0-9]{1,2})%?", given)
    if found is None or int(found[1]) == 0:
        raise CannotError(f"{given!r} is no share of the runs; say a percentage from 1% to 99%.")
    return int(found[1])


def _last(name: str, history: "list[Assignment]") -> "Assignment":
    if not history:
        raise CannotError(f"Nothing is published under {name!r}; saferun policy publish does it.")
    return history[-1]


def _meant(name: str, given: str, store: str | None) -> str:
    """The one version that begins with some digits."""
    from saferun.cli.options import store_file
    from saferun.store import Reader
    from saferun.store.versions import versions_of

    with Reader(store_file(store)) as reader:
        known = [version for version, _ in versions_of(reader, name)]
    found = [version for version in known if version.startswith(given)]
    if len(found) != 1:
        what = "several versions begin" if found else "no version begins"
        raise CannotError(f"Of {name!r}, {what} with {given!r}; saferun policy versions {name}")
    return found[0]


def _print_done(console: "Console", said: "Assignment") -> None:
    from rich.text import Text

    what = f"{said.live[:12]} is live"
    if said.candidate is not None:
        share = f", for {said.share}% of the runs" if said.trial == "canary" else ""
        what = f"{said.candidate[:12]} is tried in {said.trial}{share}; {what}"
    runs = "all runs" if said.urgent else "runs that begin from now on"
    lead = Text.assemble((f"{ALLOWED.icon} ", ALLOWED.style), (f"{said.name}  ", "bold"))
    put(console, beside(console, lead, f"{what}, for {runs} ({said.act} {said.serial}, {said.by})"))


def versions(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A policy's name; all without.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say which versions there are, and which decide."""
    from saferun.cli.options import store_file
    from saferun.store import Reader
    from saferun.store.versions import history_of, kept_policies, standing_of

    with Reader(store_file(store)) as reader:
        known = kept_policies(reader) if name is None else [name]
        if not known and not as_json:
            screen().print("No policy has ever decided here, and none was published.")
        for each in known:
            said = history_of(reader, each)
            rows = standing_of(reader, each, said)
            if not rows:
                raise CannotError(f"No version of {each!r} has ever decided or been published.")
            if as_json:
                acts = msgspec.to_builtins(said)
                document({"name": each, "versions": list(map(_row, rows)), "assignments": acts})
            else:
                _print_versions(screen(), each, rows)
    return 0


def _row(kept: "Kept") -> dict[str, Any]:
    return {
        "version": kept.version,
        "state": kept.state,
        "share": kept.share,
        "since": kept.since,
        "published_by": kept.by,
    }


def _print_versions(console: "Console", name: str, rows: "list[Kept]") -> None:
    from rich.text import Text

    console.print(Text(inert(name, 80), style="bold"))
    for row in rows:
        share = f" {row.share}%" if row.share else ""
        state = f"{row.state or ''}{share}"
        style = ALLOWED.style if row.state == "live" else "yellow" if row.state else "dim"
        by = f"published by {inert(row.by, 40)}" if row.by else ""
        said = Text.assemble((f"{state:12}", style), f"{moment(row.since)}  {by}")
        put(console, beside(console, Text(f"  {row.version[:12]}  "), said))


def live_difference(name: str, store: StoreOption = None, as_json: JsonOption = False) -> int:
    """Say in what the candidate has differed from the live version, on the calls really made.

    Exits 1 where it has, and 0 where it has not.
    """
    from saferun.cli.options import store_file
    from saferun.replay.live import compared
    from saferun.store import Reader
    from saferun.store.versions import history_of

    with Reader(store_file(store)) as reader:
        now = _last(name, history_of(reader, name))
        if now.candidate is None:
            raise CannotError(f"{name} has no candidate; publish one with --shadow or --canary.")
        trial = compared(reader, name, now.candidate)
    if as_json:
        document({"name": name, "candidate": now.candidate, **msgspec.to_builtins(trial)})
    else:
        _print_trial(screen(), trial)
    return 1 if trial.differences else 0


def _print_trial(console: "Console", trial: "Trial") -> None:
    from rich.text import Text

    from saferun.cli.screen import VERDICTS

    differing = sum(each.calls for each in trial.differences)
    console.print(f"{counted(trial.calls, 'call')}, on {differing:,} of which the two differ")
    for each in trial.differences:
        mark = VERDICTS[each.candidate]
        lead = Text.assemble("  ", (f"{mark.icon} ", mark.style), (inert(each.tool, 60), "bold"))
        was = VERDICTS[each.live].word
        said = f"  {counted(each.calls, 'call')} {was}, would be {mark.word}"
        by = f" by {', '.join(inert(rule) for rule in each.rules)}" if each.rules else ""
        runs = f"; runs {', '.join(inert(run, 60) for run in each.runs)}" if each.runs else ""
        put(console, beside(console, lead, said + by + runs))

"""Changes of a policy file and of its tests: drawn up, shown as a patch, made, never half of one.

The command line and the console change policies by what stands here, and by nothing else.
"""

import contextlib
import difflib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from saferun import files
from saferun.control import Limit
from saferun.errors import SafeRunError
from saferun.policy import Policy, check, loads
from saferun.policy.amend import replaced
from saferun.policy.document import Rule
from saferun.policy.source import MAX_BYTES, read
from saferun.policy.source import Path as Steps
from saferun.policy.suggest import Candidate
from saferun.replay.suggest import Known, Place, Suggested
from saferun.suites import incident
from saferun.suites.file import ENDING

Named = Callable[[Path], str]
"""How a file is called where it is spoken of: as one would type it, or by less than its path."""


class CannotAmendError(SafeRunError):
    """A policy that cannot be changed so: one sentence on why, and on what to do."""


class Change(NamedTuple):
    """What a file held when it was read, None where there was none, and what it is to hold."""

    path: Path
    name: str
    before: bytes | None
    after: bytes

    @property
    def patch(self) -> str:
        """The change as a unified diff, as `git apply` and `patch -p1` take it."""
        before = "" if self.before is None else self.before.decode("utf-8", "replace")
        old = "/dev/null" if self.before is None else f"a/{self.name}"
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            self.after.decode("utf-8", "replace").splitlines(keepends=True),
            old,
            f"b/{self.name}",
        )
        # A last line without its end would run into the next file.
        ends = (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in lines
        )
        return "".join(ends)


class Draft(NamedTuple):
    """The changes that put a rule into a policy, and why no test case is among them."""

    changes: list[Change]
    caseless: str | None = None

    @property
    def patch(self) -> str:
        """All of them as one patch."""
        return "".join(each.patch for each in self.changes)


def held(path: Path, name: str) -> bytes:
    """What a file holds. Raises CannotAmendError where it cannot be read, or is too large."""
    try:
        return files.arrived(path, MAX_BYTES, files.PATIENCE)
    except OSError as problem:
        raise CannotAmendError(f"{name} cannot be read: {problem.strerror}.") from None


def make(changes: Sequence[Change]) -> None:
    """Write the changes, all of them or none.

    The last goes first. Where this is cut short between a policy and its tests, the tests are
    ahead: they fail, and to do it again completes it.

    Raises CannotAmendError where one has changed since it was read, or cannot be written: then
    none is written.
    """
    with contextlib.ExitStack() as drafts:
        ready = []
        # All that takes room on the disk is taken before anything is replaced.
        for each in changes:
            # Of a link, what it leads to is the file.
            path = each.path.resolve()
            try:
                draft = files.drafted(path, each.after, mode=_mode(each, changes))
            except OSError as problem:
                raise _unwritten(each, problem) from None
            drafts.callback(draft.unlink, missing_ok=True)
            ready.append((each, draft, path))
        for folder in sorted({path.parent for _, _, path in ready}):
            drafts.enter_context(_alone_in(folder))
        for each in changes:
            if _held(each.path, each.name) != each.before:
                raise CannotAmendError(
                    f"{each.name} has changed meanwhile, and nothing was written; do it again."
                )
        for each, draft, path in reversed(ready):
            try:
                files.move(draft, path)
            except OSError as problem:
                _take_back(changes)
                raise _unwritten(each, problem) from None


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """For a block, keep others away who change policies in that folder, from any process.

    So of two at once, the second sees that a file has changed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _mode(change: Change, changes: Sequence[Change]) -> int:
    """Who may read a file: as before, and a new one whoever may read the one that it is beside."""
    like = next((each for each in (change, *changes) if each.before is not None), None)
    return 0o644 if like is None else stat.S_IMODE(like.path.stat().st_mode)


def _take_back(changes: Sequence[Change]) -> None:
    """Have files that hold what they were to hold already hold what they held before."""
    for each in changes:
        with contextlib.suppress(OSError, CannotAmendError):
            if _held(each.path, each.name) != each.after:
                continue
            if each.before is None:
                each.path.unlink()
            else:
                files.put(each.path.resolve(), each.before, mode=_mode(each, changes))


def _unwritten(change: Change, problem: OSError) -> CannotAmendError:
    return CannotAmendError(
        f"{change.name} cannot be written: {problem.strerror}. Nothing was changed."
    )


def in_shadow(
    path: Path,
    named: Named,
    place: Place,
    chosen: Suggested,
    known: Known,
    hidden: frozenset[str],
    frame: str,
) -> Draft:
    """A rule put into the policy, in shadow, with a case made from the call that it is for.

    `hidden` are arguments that no file may show, and `frame` is what the call is called. Raises
    CannotAmendError where the policy would not be sound with the rule, and AmendError.
    """
    after = place.amended(chosen.candidate, shadow=True)
    _sound([each.message for each in place.findings(after) if each.severity == "error"])
    changes = [Change(path, named(path), place.file.text, after)]
    case, why = _case(path, named, after, chosen.candidate, known, hidden, frame)
    if case is not None:
        changes.append(case)
    return Draft(changes, why)


def _case(
    path: Path,
    named: Named,
    after: bytes,
    candidate: Candidate,
    known: Known,
    hidden: frozenset[str],
    frame: str,
) -> tuple[Change | None, str | None]:
    """The test file with a case made from the call; or why there is none."""
    call = known.call
    assert call is not None
    policy = loads(after, str(path))
    entry = policy.entry(call, known.facts.environment).said
    paths = (*entry.redact, *entry.sensitive)
    secret = {each[1] for each in paths if len(each) > 1 and each[0] == "args"} | hidden
    if kept := sorted(secret & call.args.keys()):
        return None, f"args.{kept[0]} is kept from sight, and a file would show it"
    tests = beside(path)
    before = _held(tests, named(tests))
    name = incident.free_name(before, f"{call.tool} as in {frame} meets {candidate.id}.")
    case = incident.written(policy, call, known.facts, candidate.id, name, candidate.before)
    try:
        text = incident.with_case(before, case)
        failed = incident.failing(text, tests, policy, name)
    except SafeRunError as problem:
        return None, str(problem).removesuffix(".")
    if failed is not None:
        return None, f"it would fail ({failed})"
    return Change(tests, named(tests), before, text), None


def enforced(path: Path, named: Named, before: bytes, rule: str) -> Draft:
    """What is in shadow made to count, in the policy and in the tests that saw it there.

    Raises CannotAmendError where there is no such rule, or the policy would not be sound with it,
    and AmendError, PolicyError and SuiteError.
    """
    policy = loads(before, str(path))
    if not any(each.shadow for each in tried(policy) if each.id == rule):
        what = f"No rule or limit {rule!r} is in shadow in {policy.name}"
        raise CannotAmendError(f"{what}, or not any more.")
    where = _where(read(before).value, rule)
    if where is None:
        raise CannotAmendError(
            f"{rule!r} stands in a file that the policy includes; edit it there."
        )
    after = replaced(before, (*where, "mode"), "enforce")
    _sound([each.message for each in check(after, str(path)) if each.severity == "error"])
    changes = [Change(path, named(path), before, after)]
    tests = beside(path)
    said = _held(tests, named(tests))
    if said is not None:
        text = incident.enforced(said, tests, loads(after, str(path)), rule)
        if text != said:
            changes.append(Change(tests, named(tests), said, text))
    return Draft(changes)


def tried(policy: Policy) -> Iterator[Rule | Limit]:
    """All rules and limits of a policy, in shadow or not."""
    yield from policy.document.limits
    for tool in policy.document.tools:
        yield from tool.rules
        yield from tool.limits


def own(before: bytes) -> frozenset[str]:
    """The ids of the rules and limits that a file has itself, and not by what it includes."""
    return frozenset(name for name, _ in _places(read(before).value))


def _where(value: Any, rule: str) -> Steps | None:
    """Where a rule or limit stands in a file, by what the file says itself.

    What it includes counts with its lists and stands elsewhere, so a place in the policy is none in
    the file.
    """
    return next((path for name, path in _places(value) if name == rule), None)


def _places(value: Any) -> Iterator[tuple[str, Steps]]:
    holders: list[tuple[Steps, Any]] = [((), value)]
    holders += [(("scopes", at), each) for at, each in enumerate(value.get("scopes") or ())]
    parts: list[tuple[Steps, Any]] = [(("limits",), value.get("limits"))]
    for path, holder in holders:
        for name, tool in (holder.get("tools") or {}).items():
            parts += [((*path, "tools", name, key), tool.get(key)) for key in ("rules", "limits")]
    for path, some in parts:
        for at, each in enumerate(some or ()):
            if isinstance(each.get("id"), str):
                yield each["id"], (*path, at)


def beside(path: Path) -> Path:
    """The tests of a policy file."""
    return path.with_name(path.name.removesuffix(path.suffix) + ENDING)


def _held(path: Path, name: str) -> bytes | None:
    return held(path, name) if path.exists() else None


def _sound(errors: Sequence[str]) -> None:
    if errors:
        raise CannotAmendError(f"The policy would not be sound with it: {errors[0]}.")

"""`saferun policy enforce`: a rule that was tried in shadow counts from now on.

In the file, that is: where versions are published, it counts once this one is.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, meant, near
from saferun.cli.policy.change import Change, make, read, show
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.screen import ALLOWED, beside, document, put, screen

if TYPE_CHECKING:
    from pathlib import Path

    from saferun.policy import Policy
    from saferun.policy.source import Path as Steps


def enforce(
    policy: PolicyArgument,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="The id of a rule in shadow.")],
    patch: Annotated[
        bool, typer.Option("--patch", help="Print the change as a diff, and write nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have a rule that is in shadow be enforced.

    In the policy's file, and in its tests.
    """
    from saferun.policy import check, loads
    from saferun.policy.amend import replaced
    from saferun.policy.source import MAX_BYTES

    path = policy_file(policy, store)
    before = contents(path, MAX_BYTES)
    where = _where(loads(before, near(path)), rule)
    after = replaced(before, (*where, "mode"), "enforce")
    errors = [each for each in check(after, near(path)) if each.severity == "error"]
    if errors:
        raise CannotError(f"The policy would not be sound with it: {errors[0].message}.")
    changes = [Change(path, before, after)]
    tests = _tests(path, after, rule)
    if tests is not None:
        changes.append(tests)
    if patch:
        show(changes)
        return 0
    make(changes, MAX_BYTES)
    files = [near(each.path) for each in changes]
    if as_json:
        document({"rule": rule, "written": files, "mode": "enforce"})
        return 0
    from rich.text import Text

    console = screen()
    said = f"{inert(rule)} is enforced in {' and '.join(files)}"
    put(console, beside(console, Text(f"{ALLOWED.icon} ", ALLOWED.style), said))
    return 0


def _where(policy: "Policy", rule: str) -> "Steps":
    """Where a rule in shadow stands in the file. Raises CannotError."""
    shadow: list[str] = []
    for tool in policy.document.tools:
        for position, each in enumerate(tool.rules):
            if each.shadow:
                shadow.append(each.id)
            if each.id == rule:
                if not each.shadow:
                    raise CannotError(f"The rule {rule!r} is enforced already.")
                return (*tool.path, "rules", position)
    raise CannotError(f"No rule {rule!r} is in shadow in {policy.name}{meant(rule, shadow)}")


def _tests(path: "Path", after: bytes, rule: str) -> Change | None:
    """The policy's tests, where some saw the rule in shadow."""
    from saferun.policy import loads
    from saferun.policy.source import MAX_BYTES
    from saferun.suites import incident
    from saferun.suites.file import ENDING

    tests = path.with_name(path.name.removesuffix(path.suffix) + ENDING)
    before = read(tests, MAX_BYTES)
    if before is None:
        return None
    text = incident.enforced(before, tests, loads(after, near(path)), rule)
    return None if text == before else Change(tests, before, text)

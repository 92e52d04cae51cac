"""`saferun policy enforce`: a rule that was tried in shadow counts from now on.

In the file, that is: where versions are published, it counts once this one is.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, contents, meant, near
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.screen import ALLOWED, beside, document, put, raw, screen

if TYPE_CHECKING:
    from saferun.policy import Policy


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
    from saferun import amending
    from saferun.policy import loads
    from saferun.policy.source import MAX_BYTES

    path = policy_file(policy, store)
    before = contents(path, MAX_BYTES)
    _there(loads(before, near(path)), rule)
    draft = amending.enforced(path, near, before, rule)
    if patch:
        raw(draft.patch.encode())
        return 0
    amending.make(draft.changes)
    files = [each.name for each in draft.changes]
    if as_json:
        document({"rule": rule, "written": files, "mode": "enforce"})
        return 0
    from rich.text import Text

    console = screen()
    said = f"{inert(rule)} is enforced in {' and '.join(files)}"
    put(console, beside(console, Text(f"{ALLOWED.icon} ", ALLOWED.style), said))
    return 0


def _there(policy: "Policy", rule: str) -> None:
    """Whether the rule is in shadow in the file. Raises CannotError where it is not."""
    from saferun.amending import shadowed

    shadow = shadowed(policy)
    if rule in shadow:
        return
    if any(rule == each.id for tool in policy.document.tools for each in tool.rules):
        raise CannotError(f"The rule {rule!r} is enforced already.")
    raise CannotError(f"No rule {rule!r} is in shadow in {policy.name}{meant(rule, [*shadow])}")

"""`saferun policy enforce`: a rule or a limit that was tried in shadow counts from now on.

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
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="The id of a rule or limit in shadow.")
    ],
    patch: Annotated[
        bool, typer.Option("--patch", help="Print the change as a diff, and write nothing.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Have a rule or a limit that is in shadow be enforced.

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
    """Whether the rule or limit is in shadow. Raises CannotError where it is not."""
    from saferun.amending import tried

    shadow = {each.id: each.shadow for each in tried(policy)}
    if shadow.get(rule):
        return
    if rule in shadow:
        raise CannotError(f"{rule!r} is enforced already.")
    known = [each for each, apart in shadow.items() if apart]
    what = f"No rule or limit {rule!r} is in shadow in {policy.name}"
    raise CannotError(f"{what}{meant(rule, known)}")

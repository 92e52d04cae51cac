"""`saferun approval grants` and `revoke`: what runs without being asked about, for a while."""

from typing import Annotated

import msgspec
import typer

from saferun.approval.inert import inert
from saferun.cli.approval.look import NAMES, beginning, desk_of
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption
from saferun.cli.policy.rollout import AsOption
from saferun.cli.screen import ALLOWED, document, moment, screen, told


def grants(store: StoreOption = None, as_json: JsonOption = False) -> int:
    """List what runs without being asked about, and by whose word."""
    from rich.table import Table
    from rich.text import Text

    from saferun.store import Requests

    desk = desk_of(store)
    with Requests(desk.store.path) as requests:
        found = requests.grants(desk.store.now())
    if as_json:
        for each in found:
            document(msgspec.to_builtins(each))
        return 0
    console = screen()
    if not found:
        console.print("There are no grants: everything that asks is asked about.")
        return 0
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    heads = ("grant", "tool", "run", "calls", "by", "ends")
    for head in heads:
        most = NAMES if head in ("tool", "calls", "by") else None
        rest = 1 if head == "run" else None
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=most, ratio=rest)
    table.add_row(*(Text(head, "dim") for head in heads))
    ids = [each.id for each in found]
    for each in found:
        calls = f"same {', '.join(each.parts)}" if each.parts else "the very same"
        table.add_row(
            Text(beginning(each.id, ids)),
            Text(inert(each.tool, 60)),
            Text(inert(each.run or "any", 40)),
            Text(inert(calls, 60)),
            Text(inert(each.by, 40)),
            Text(moment(each.until), "dim"),
        )
    console.print(table)
    return 0


def revoke(
    grant: Annotated[str, typer.Argument(metavar="GRANT", help="A grant's id, or its beginning.")],
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Take a grant back: what it let run is asked about again.

    Whoever has given it may, and an admin. Exits 0 where it is taken back, and 1 where it held no
    more, or you may not, or the secret is not yours.
    """
    from saferun.store import Requests, WrongSecretError

    desk = desk_of(store)
    who, secret = credential(person, desk.store)
    with Requests(desk.store.path) as requests:
        every = [each.id for each in requests.grants(desk.store.now())]
    meant = [each for each in every if grant and each.startswith(grant)]
    if len(meant) > 1:
        raise CannotError(f"{len(meant):,} grants begin with {grant!r}; say more.")
    grant = meant[0] if meant else grant
    try:
        found = desk.revoke(grant, by=who, credential=secret)
    except WrongSecretError as problem:
        told(str(problem))
        return 1
    taken = found.grant
    if as_json:
        about = msgspec.to_builtins(taken)
        document({"revoked": taken is not None, "grant": about, "why": found.why})
    elif taken is None:
        told(f"{grant[:80]!r} is not taken back: {found.why}.")
    else:
        screen().print(f"{ALLOWED.icon} {inert(taken.tool, 80)} is asked about again")
    return 0 if taken is not None else 1

"""`saferun policy review`: what is in shadow, what it would have stopped, and whether rightly.

From what was recorded when calls were decided, and not by deciding them anew: this is what the
rules said at the time, of what was known at the time.
"""

from typing import TYPE_CHECKING

import msgspec

from saferun.approval.inert import inert
from saferun.cli.options import JsonOption, StoreOption, near
from saferun.cli.policy.named import PolicyArgument, policy_file
from saferun.cli.run.told import history_of
from saferun.cli.screen import document, put, screen

if TYPE_CHECKING:
    from rich.console import Console

    from saferun.replay.suggest import Review

__all__ = ["review"]


def review(
    policy: PolicyArgument,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say what the rules and limits in shadow would have stopped.

    Since they are there, and what people say of it.
    """
    from saferun.policy import load
    from saferun.replay.suggest import reviews

    path = policy_file(policy, store)
    loaded = load(near(path))
    with history_of(store, None) as (_, index):
        found = reviews(index, loaded)
    if as_json:
        rules = [{**msgspec.to_builtins(each), "precision": each.precision} for each in found]
        document({"policy": near(path), "rules": rules})
    else:
        _print(screen(), loaded.name, found)
    return 0


def _print(console: "Console", name: str, found: "list[Review]") -> None:
    from rich.table import Table
    from rich.text import Text

    if not found:
        put(console, [Text(f"Nothing of {inert(name)} is in shadow.")])
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(overflow="fold", max_width=40)
    heads = ("would stop", "runs", "right", "false", "unlabelled", "failed")
    for _ in heads:
        table.add_column(no_wrap=True, justify="right")
    table.add_row(Text("in shadow", "bold"), *(Text(head, "dim") for head in heads))
    for each in found:
        cells = (each.hits, each.runs, each.right, each.false, each.unlabelled, each.failed)
        table.add_row(Text(f"  {inert(each.id)}"), *(Text(f"{many:,}") for many in cells))
    console.print(table)
    console.print()
    way = f"saferun policy enforce {inert(name)} RULE has one count"
    put(console, [Text(way, "dim")])

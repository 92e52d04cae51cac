"""`saferun run near`: calls that nearly were stopped, or went wrong, for a person to label."""

from itertools import islice
from typing import Annotated

import msgspec
import typer

from saferun import marks
from saferun.approval.inert import inert
from saferun.cli.options import JsonOption, LimitOption, StoreOption
from saferun.cli.run.told import history_of
from saferun.cli.screen import ASKED, VERDICTS, beside, document, moment, put, screen


def near(
    limit: LimitOption = 20,
    every: Annotated[
        bool, typer.Option("--all", help="Those as well of which somebody has said something.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """List near misses that nobody has labelled.

    Those of the newest runs come first.
    """
    from rich.text import Text

    from saferun.replay import near_calls

    console, some = screen(), 0
    with history_of(store, None) as (_, index):
        for each in islice(near_calls(index, labelled=every), limit):
            some += 1
            if as_json:
                document(msgspec.to_builtins(each))
                continue
            mark = VERDICTS.get(each.verdict or "", ASKED)
            lead = Text.assemble((f"{mark.icon} ", mark.style))
            said = Text.assemble(
                (inert(f"{each.run_id}#{each.frame}", 120), "bold"),
                f"  {inert(each.tool or '', 80)}",
                (f"  {moment(each.at)}", "dim"),
                f"  {each.label}" if each.label is not None else "",
            )
            put(console, beside(console, lead, said))
            put(
                console,
                beside(console, Text("    "), "; ".join(marks.NEAR[why] for why in each.near)),
            )
    if not some and not as_json:
        put(console, [Text("No near misses, or none that nobody has labelled.")])
    return 0

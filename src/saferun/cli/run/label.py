"""`saferun run label`: a person says of a call whether it is right to stop it.

Rules are measured by it: without a label, a hit is a hit, and nobody knows whether it was meant.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from saferun import marks
from saferun.approval.inert import inert
from saferun.cli.ledger.acting import ReasonOption, reason_of
from saferun.cli.login import credential
from saferun.cli.options import CannotError, JsonOption, StoreOption, settings
from saferun.cli.policy.rollout import AsOption
from saferun.cli.run.place import FrameArgument, place_of
from saferun.cli.run.told import history_of
from saferun.cli.screen import beside, document, put, screen, told

if TYPE_CHECKING:
    from rich.text import Text

    from saferun.ledger import Mark
    from saferun.store import Store

MARKS: "dict[str, Mark]" = {
    "+": "right",
    "right": "right",
    "-": "false",
    "false": "false",
    "?": "none",
    "none": "none",
}


def label(
    frame: FrameArgument,
    mark: Annotated[
        str,
        typer.Argument(
            metavar="right|false|none",
            help="To stop it is right (+), a false alarm (-), or take back what was said (?).",
        ),
    ],
    reason: ReasonOption = None,
    person: AsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Say of a call whether it is right to stop it. The last word on a call holds.

    Exits 0 where it is noted, and 1 where the secret is not yours.
    """
    from saferun.store import Label, WrongSecretError
    from saferun.store.shared import shared_store

    meant = MARKS.get(mark)
    if meant is None:
        raise CannotError(f"{mark!r} says nothing of a call; write right, false or none.")
    why = reason_of(reason)
    with history_of(store, None) as (_, index):
        place = place_of(index, frame)
        of = place.playback.outline.row(place.number).seq
        said = f"{place}"
    chosen = settings(store)
    opened: Store = shared_store(chosen.store, chosen)
    by, secret = credential(person, opened)
    try:
        seq = opened.commit(Label(of=of, mark=meant, by=by, credential=secret, reason=why))
    except WrongSecretError as problem:
        told(str(problem))
        return 1
    if as_json:
        document({"frame": said, "of": of, "mark": meant, "by": by, "reason": why, "seq": seq})
    else:
        console = screen()
        told_of = marks.LABELS.get(meant, "nothing is said of it any more")
        put(console, beside(console, _lead(meant), f"{inert(said, 120)}  {told_of}"))
    return 0


def _lead(mark: str) -> "Text":
    from rich.text import Text

    icon = {"right": "+", "false": "-"}.get(mark, "?")
    return Text(f"{icon} ", "bold")

"""`saferun ledger`: is the history the one that was written, and how can others tell."""

import typer

from saferun.cli.ledger.anchor import anchor
from saferun.cli.ledger.archive import archive
from saferun.cli.ledger.backup import backup
from saferun.cli.ledger.erase import erase
from saferun.cli.ledger.export import export
from saferun.cli.ledger.note import checkpoint, vkey
from saferun.cli.ledger.prove import check, consistency, prove
from saferun.cli.ledger.recover import recover
from saferun.cli.ledger.restart import restart
from saferun.cli.ledger.rotate import rotate
from saferun.cli.ledger.search import search
from saferun.cli.ledger.verify import verify

app = typer.Typer(
    name="ledger", help="Prove that the history is the one that was written.", no_args_is_help=True
)
for command in (
    *(verify, checkpoint, vkey, anchor),
    *(prove, check, consistency),
    *(search, export),
    *(archive, erase, backup),
    *(recover, rotate, restart),
):
    app.command()(command)

"""`saferun run`: what agents did, read back from the ledger frame by frame."""

import typer

from saferun.cli.run.diff import diff
from saferun.cli.run.export import export
from saferun.cli.run.label import label
from saferun.cli.run.listing import runs
from saferun.cli.run.near import near
from saferun.cli.run.rerun import rerun
from saferun.cli.run.show import show
from saferun.cli.run.step import step
from saferun.cli.run.verify import verify
from saferun.cli.run_import import bring_in

app = typer.Typer(name="run", help="Look at what agents did.", no_args_is_help=True)

app.command("list")(runs)
app.command()(show)
app.command()(step)
app.command()(diff)
app.command()(label)
app.command()(near)
app.command()(rerun)
app.command("import")(bring_in)
app.command()(export)
app.command()(verify)

"""`saferun control`: what is used and what is open, and the switches that stop things."""

import typer

from saferun.cli.control.status import status
from saferun.cli.control.switch import resume, stop

app = typer.Typer(
    name="control", help="See how the controls stand; stop and resume.", no_args_is_help=True
)
app.command()(status)
app.command()(stop)
app.command()(resume)

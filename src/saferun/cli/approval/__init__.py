"""`saferun approval`: what waits for people, and their answers."""

import typer

from saferun.cli.approval.answer import approve, edit, reject
from saferun.cli.approval.grants import grants, revoke
from saferun.cli.approval.look import list_, show
from saferun.cli.approval.resume import resume

app = typer.Typer(
    name="approval", help="See what waits for people; approve and reject.", no_args_is_help=True
)
app.command("list")(list_)
app.command()(show)
app.command()(approve)
app.command()(edit)
app.command()(reject)
app.command()(resume)
app.command()(grants)
app.command()(revoke)

"""`saferun policy`: what a policy says, whether it is sound, and what a change of it would do."""

import typer

from saferun.cli.policy.backtest import backtest
from saferun.cli.policy.check import check
from saferun.cli.policy.diff import diff
from saferun.cli.policy.enforce import enforce
from saferun.cli.policy.explain import explain
from saferun.cli.policy.review import review
from saferun.cli.policy.rollout import promote, publish, rollback, versions
from saferun.cli.policy.schema import schema
from saferun.cli.policy.signing import key
from saferun.cli.policy.suggest import suggest
from saferun.cli.policy.testing import run_tests

app = typer.Typer(
    name="policy",
    help="Check policies, test them, roll them out, and ask them why.",
    no_args_is_help=True,
)
for command in (
    *(check, explain, diff, backtest, suggest, review, enforce),
    *(publish, versions, promote, rollback, key, schema),
):
    app.command()(command)
app.command("test")(run_tests)

"""The command `saferun`: one file per noun, and here what they share with the shell.

A command returns its exit code. 0, 1 and 2 mean what the command says they mean; from 64
upwards the codes are those of sysexits.h and mean that it could not do its work:

    64   what was asked for cannot be: a typo, a missing file, a store that is none
    70   a fault in SafeRun itself
    74   the output could not be written, or its reader went away
    130  interrupted

So a script that asks `ledger verify` never takes a typo for a clean ledger, nor a crash for
a tampered one.
"""

import contextlib
import io
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from saferun.cli import (
    approval,
    control,
    demo,
    doctor,
    init,
    ledger,
    login,
    look,
    policy,
    run,
    serve,
)
from saferun.cli.screen import hang_up, told
from saferun.errors import SafeRunError

INTERRUPTED = 130

# Typer brings click along, under a name of its own in some versions, and names only this one of
# its errors. The class above it is click's UsageError: every way to call a command wrongly.
_Misuse = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])


class Commands(TyperGroup):
    """The commands, with one way out: a sentence on stderr and an exit code."""

    def main(self, *args: Any, **options: Any) -> NoReturn:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                # Closed by whoever called. Its number must not go to a store that is opened next.
                setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # An icon that a terminal's encoding lacks is no reason to fail.
                stream.reconfigure(errors="backslashreplace")
        sys.exit(self._code(*args, **{**options, "standalone_mode": False}))

    def _code(self, *args: Any, **options: Any) -> int:
        try:
            # What the command returned, or how `--help` and `--version` ended it.
            code = int(super().main(*args, **options) or 0)
            # Here and not on Python's way out, where it would be too late for a code of ours.
            sys.stdout.flush()
        except _Misuse as misuse:
            misuse.show()
            return os.EX_USAGE
        except SafeRunError as problem:
            told(str(problem))
            return os.EX_USAGE
        except OSError as problem:
            if not isinstance(problem, BrokenPipeError):
                told(f"{problem}.")
            hang_up()
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except Exception:  # noqa: BLE001 - Python's own code for it would mean "tampered"
            traceback.print_exc()
            return os.EX_SOFTWARE
        return code


app = typer.Typer(
    name="saferun",
    cls=Commands,
    help="The checkpoint between AI agents and their tools.",
    no_args_is_help=True,
    add_completion=False,
    # Plain help: no boxes, the same in a pipe, and without loading a drawing library.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(init.init)
app.command()(demo.demo)
app.command()(serve.serve)
app.command("open")(look.look)
app.command()(doctor.doctor)
app.command()(login.login)
app.add_typer(policy.app)
app.add_typer(run.app)
app.add_typer(approval.app)
app.add_typer(control.app)
app.add_typer(ledger.app)


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"saferun-sdk {metadata.version('saferun-sdk')}")
        raise typer.Exit


@app.callback()
def _about(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Say which and exit."),
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command that the shell asks for, and exit with its code."""
    with contextlib.suppress(KeyboardInterrupt):
        app()
    sys.exit(INTERRUPTED)

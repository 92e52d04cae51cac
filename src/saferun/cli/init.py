"""`saferun init`: the files of a project that wants a checkpoint, and its store."""

import re
from importlib import resources
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from saferun import config
from saferun.approval.inert import inert
from saferun.cli.options import CannotError, JsonOption, StoreOption, near, settings
from saferun.cli.screen import ALLOWED, document, facts, screen

_IGNORED = "# What agents did, and the keys that vouch for it.\n.saferun/\n"
_IS_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_IS_IGNORED = re.compile(r"^[ \t]*(\*\*)?/?\.saferun/?[ \t]*\r?$", re.MULTILINE)


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="The project; here by default.")
    ] = Path(),
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> int:
    """Write a configuration and a policy, and make the store.

    Its keys are made with it. A file that is there already is kept as it is.
    """
    from saferun.store import Store

    done = _Done()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _scaffold(folder, store, done)
    except OSError as problem:
        raise CannotError(f"{problem.filename} cannot be written: {problem.strerror}.") from None
    chosen = settings(store, folder)
    path = config.sqlite_path(chosen.store)
    done.note(path, new=not path.exists())
    opened = Store(
        chosen.store, ledger=chosen.ledger, durability=chosen.durability, signing=chosen.signing
    )
    opened.close()
    if as_json:
        document(msgspec.to_builtins(done))
    else:
        _print(done)
    return 0


class _Done(msgspec.Struct):
    """Files that were made, that got a line, and that were there already."""

    made: list[str] = []
    added: list[str] = []
    kept: list[str] = []

    def note(self, path: Path, *, new: bool) -> None:
        (self.made if new else self.kept).append(near(path))


def _scaffold(folder: Path, store: str | None, done: _Done) -> None:
    from saferun.policy import editor

    file = folder / "saferun.toml"
    named = settings(store, folder).file
    if named is not None and named.parent == folder.absolute() and named != file.absolute():
        # Configured already, in pyproject.toml; a file of its own would hide what stands there.
        done.note(named, new=False)
    else:
        done.note(file, new=_written(file, _for_whoever(_scaffolding(file.name))))
    policies = settings(store, folder).policies
    policies.mkdir(parents=True, exist_ok=True)
    policy, schema = policies / "production.yaml", policies / "policy.schema.json"
    done.note(policy, new=_written(policy, _scaffolding(policy.name)))
    # Beside the policies, where their first line finds it: an editor then needs no network.
    done.note(schema, new=_written(schema, editor.text()))
    _ignore(folder / ".gitignore", done)


def _scaffolding(name: str) -> str:
    return resources.files("saferun.cli").joinpath("scaffold", name).read_text("utf-8")


def _for_whoever(text: str) -> str:
    """The configuration with whoever makes it as its one person: the terminal asks them."""
    import getpass

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        return text
    # It becomes a key of TOML, and any other name is the person's to write.
    return text.replace("alice", user) if _IS_NAME.fullmatch(user) else text


def _written(file: Path, text: str) -> bool:
    """Write a new file; False where it is there already."""
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(text)
    except FileExistsError:
        return False
    return True


def _ignore(file: Path, done: _Done) -> None:
    """Keep the store out of version control: it holds what agents saw, and keys."""
    known = file.read_text("utf-8", errors="replace") if file.exists() else None
    if known is not None and _IS_IGNORED.search(known):
        done.kept.append(near(file))
        return
    with file.open("a", encoding="utf-8") as lines:
        lines.write(("\n" if known and not known.endswith("\n") else "") + _IGNORED)
    (done.made if known is None else done.added).append(near(file))


def _print(done: _Done) -> None:
    from rich.text import Text

    console = screen()
    for files, icon, word, style in (
        (done.made, ALLOWED.icon, "made", ALLOWED.style),
        (done.added, ALLOWED.icon, "added to", ALLOWED.style),
        (done.kept, "·", "kept", "dim"),
    ):
        for file in files:
            console.print(
                Text.assemble((f"{icon} {word:8}", style), f"  {inert(file)}"), soft_wrap=True
            )
    console.print("\nNext\n", style="bold")
    facts(
        console,
        ("1", Text("from saferun import guard\nsafe_refund = guard(refund)")),
        (
            "",
            Text("Wrap a tool; inside `with saferun.run(agent=..., user=...)`, call it.\n", "dim"),
        ),
        ("2", "saferun policy check production"),
        ("", Text("After each change of the policy; `saferun policy explain` says why.\n", "dim")),
        ("3", "saferun run list"),
        ("", Text("What the agent did; `saferun run show RUN` goes frame by frame.", "dim")),
    )

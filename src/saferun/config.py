"""Configuration: `saferun.toml`, or `[tool.saferun]` in `pyproject.toml`; the environment wins.

The nearest file from the working folder upwards is read once. Paths in it are meant from
the folder it stands in and are made absolute there and then, so that a later `chdir`
cannot make them mean another file. Secrets are never configuration: a table names the
environment variable or file that holds one.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from saferun.errors import ConfigError

Durability = Literal["full", "process"]

MAX_TIMEOUT = 31_536_000
"""Seconds that a question may stand: a year, where no question is worth its answer any more."""

PUBLISHED = "store"
"""What `policies` says where versions that were published to the store decide, and no files."""


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may be asked. Channels know a person by the address they have here."""

    email: str | None = None
    slack: str | None = None


class ApprovalTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[approval]`: the channel that is asked where `guard` names none.

    `timeout` is how long a question stands, in seconds; unanswered, it is a no.
    """

    default: str | None = None
    timeout: Annotated[float, msgspec.Meta(gt=0, le=MAX_TIMEOUT)] = 900.0


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: str = "sqlite:///.saferun/saferun.db"
    ledger: str = "default"
    durability: Durability = "full"
    policies: str = "policies"
    policy: str | None = None
    policy_key: str | None = None
    environment: str | None = None
    approval: ApprovalTable = ApprovalTable()
    people: dict[str, Person] = {}
    groups: dict[str, list[str]] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured, with every path absolute. `file` is None where there is no file.

    `environment` is where this process runs, `production` say, for policies that tell them apart.
    Where the policies are `published`, a policy's name means what was published under it to the
    store, and `policies` is only the folder to publish from. `policy_key` is the verifier key
    (a C2SP vkey) of whoever signs what is published; without one, nothing has to be signed.
    """

    file: Path | None
    store: str
    ledger: str
    durability: Durability
    policies: Path
    published: bool
    policy: str | None
    policy_key: str | None
    environment: str | None
    approval: ApprovalTable
    people: dict[str, Person]
    groups: dict[str, list[str]]

    def policy_file(self, named: str | Path) -> Path:
        """The file that a policy's name means; the path of a file means itself."""
        path = Path(named)
        if path.suffix not in (".yaml", ".yml"):
            path = self.policies / f"{named}.yaml"
        return path.absolute()


_ENVIRONMENT = {
    "SAFERUN_STORE": "store",
    "SAFERUN_LEDGER": "ledger",
    "SAFERUN_DURABILITY": "durability",
    "SAFERUN_POLICIES": "policies",
    "SAFERUN_POLICY": "policy",
    "SAFERUN_POLICY_KEY": "policy_key",
    "SAFERUN_ENVIRONMENT": "environment",
}


def load(start: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration that holds in folder `start` (the working folder by default).

    Raises ConfigError, with the file, where it cannot be read or says what it cannot.
    """
    environ = os.environ if environ is None else environ
    start = (start or Path.cwd()).absolute()
    file, table = _find(start, environ)
    table = dict(table)
    for variable, key in _ENVIRONMENT.items():
        if environ.get(variable):
            table[key] = environ[variable]
    approval = table.get("approval", {})
    if environ.get("SAFERUN_APPROVAL") and isinstance(approval, dict):
        table["approval"] = {**approval, "default": environ["SAFERUN_APPROVAL"]}
    try:
        read = msgspec.convert(table, _File)
    except msgspec.ValidationError as problem:
        raise ConfigError(_explained(str(problem), file, environ)) from None
    base = file.parent if file is not None else start
    if not re.fullmatch(r"[a-z0-9._-]{1,64}", read.ledger):
        raise ConfigError(
            f"{file or 'SAFERUN_LEDGER'}: ledger is {read.ledger!r}; use 1 to 64 of a-z 0-9 . _ -"
        )
    published = read.policies == PUBLISHED
    return Config(
        file=file,
        store=_absolute_store(read.store, base),
        ledger=read.ledger,
        durability=read.durability,
        policies=(base / ("policies" if published else read.policies)).absolute(),
        published=published,
        policy=read.policy,
        policy_key=read.policy_key,
        environment=read.environment,
        approval=read.approval,
        people=read.people,
        groups=read.groups,
    )


def sqlite_path(url: str) -> Path:
    """The file that a `sqlite:///` store lies in. Raises ConfigError for any other URL."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url == prefix:
        raise ConfigError(
            f"The store {_without_password(url)!r} cannot be used: this version of SafeRun keeps "
            "its store in SQLite, written sqlite:///FOLDER/FILE.db"
        )
    return Path(url.removeprefix(prefix))


def _absolute_store(url: str, base: Path) -> str:
    return f"sqlite:///{(base / sqlite_path(url)).absolute()}"


def _without_password(url: str) -> str:
    return re.sub(r"://[^/@]*@", "://…@", url)


def _find(start: Path, environ: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    named = environ.get("SAFERUN_CONFIG")
    if named:
        file = (start / named).absolute()
        return file, _section(file, _read(file))
    for folder in (start, *start.parents):
        for name in ("saferun.toml", "pyproject.toml"):
            file = folder / name
            if file.is_file():
                table = _read(file)
                if name == "saferun.toml" or "saferun" in _tools(table):
                    return file, _section(file, table)
    return None, {}


def _section(file: Path, table: dict[str, Any]) -> dict[str, Any]:
    if file.name != "pyproject.toml":
        return table
    found = _tools(table).get("saferun", {})
    if not isinstance(found, dict):
        raise ConfigError(f"{file}: [tool.saferun] must be a table")
    return found


def _tools(table: dict[str, Any]) -> dict[str, Any]:
    # The rest of a pyproject.toml is not ours to complain about.
    found = table.get("tool")
    return found if isinstance(found, dict) else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{file} cannot be read: {problem}") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{file} is not valid TOML: {problem}") from None


def _explained(problem: str, file: Path | None, environ: Mapping[str, str]) -> str:
    set_by = [name for name, key in _ENVIRONMENT.items() if f"`$.{key}`" in problem]
    where = next((name for name in set_by if environ.get(name)), file or "the environment")
    said = f"{where}: {problem}"
    unknown = re.search(r"unknown field `(\w+)`", problem)
    if unknown is not None:
        known = (*_File.__struct_fields__, *ApprovalTable.__struct_fields__)
        close = difflib.get_close_matches(unknown[1], (*known, *Person.__struct_fields__), 1)
        said += f"; did you mean {close[0]!r}?" if close else ""
    return said

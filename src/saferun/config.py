"""Configuration: `saferun.toml`, or `[tool.saferun]` in `pyproject.toml`; the environment wins.

The nearest file from the working folder upwards is read once. Paths in it are meant from
the folder it stands in and are made absolute there and then, so that a later `chdir`
cannot make them mean another file. Secrets are never configuration: a table names the
environment variable or file that holds one.
"""

import base64
import difflib
import os
import re
import stat
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec

from saferun import files
from saferun.errors import ConfigError
from saferun.keeping import WHOLE, Keeping
from saferun.unseen import alike

Durability = Literal["full", "process"]

MAX_TIMEOUT = 31_536_000
"""Seconds that a question may stand: a year, where no question is worth its answer any more."""

_KEY_BYTES = 32

_MAX_FILE = 1 << 20
"""Bytes of a configuration file; a `pyproject.toml` holds those of other programs too."""

PUBLISHED = "store"
"""What `policies` says where versions that were published to the store decide, and no files."""


Said = Literal["prompt", "plan", "user", "context", "messages", "output"]
"""What a run says of itself and may be called `sensitive`: `messages` are the user's, `output` is
the model's, and `user` is all that is known of them but their id."""


Role = Literal["viewer", "approver", "admin"]
"""What somebody may do: look, answer, or also settle what others have set up."""


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who may be asked. Channels know a person by the address they have here.

    `users` are the ids that they have as the user of a run: nobody answers for themselves.
    """

    email: str | None = None
    slack: str | None = None
    role: Role = "approver"
    users: list[str] = []


_Name = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9._-]{0,63}$")]


class EmailTable(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"sender": "from"}
):
    """`[approval.email]`: the server that takes mail, and whom it comes from.

    `tls` is how the way there is encrypted: `starttls`, `implicit`, or `none`, which has to be
    said for any server that is not on this machine. `password_env` names the environment
    variable that holds the password of `user`.
    """

    host: Annotated[str, msgspec.Meta(min_length=1, max_length=253)]
    sender: str
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] | None = None
    tls: Literal["starttls", "implicit", "none"] | None = None
    user: str | None = None
    password_env: str | None = None


class WebhookTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[approval.webhook.NAME]`: a program that brings requests to people in its own way.

    `secret_env` names the environment variable that holds the secret of Standard Webhooks,
    `whsec_…`, by which both sides sign. Unless `allow_private` is said, the URL has to lead to a
    public address, over TLS.
    """

    url: Annotated[str, msgspec.Meta(max_length=2_000)]
    secret_env: str
    allow_private: bool = False


class SlackTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[approval.slack]`: the app that asks in Slack, and the `channel` that it asks in, by its id.

    The others name environment variables: `token_env` that of the bot's token, `app_token_env`
    that of the token for Socket Mode, and `signing_secret_env` that of the secret which callbacks
    to `saferun serve` are signed with. `api_url` is where Slack is.
    """

    channel: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    token_env: str = "SLACK_BOT_TOKEN"  # noqa: S105 - a name
    app_token_env: str | None = None
    signing_secret_env: str | None = None
    api_url: str = "https://slack.com/api/"


class ApprovalTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[approval]`: the channel that is asked where `guard` names none.

    `default` may name several. `timeout` is how long a question stands, in seconds; unanswered,
    it is a no. `break_glass` are people and groups who may answer for all others, with a reason.
    `url` is where `saferun serve` is reached from outside, for links: `https://` and a name. With
    `bring = "serve"`, that alone brings requests to people, and the process that asks makes nothing
    that answers them.
    """

    default: str | list[str] | None = None
    break_glass: list[str] = []
    url: str | None = None
    timeout: Annotated[float, msgspec.Meta(gt=0, le=MAX_TIMEOUT)] = 900.0
    bring: Literal["any", "serve"] = "any"
    email: EmailTable | None = None
    webhook: dict[_Name, WebhookTable] = {}
    slack: SlackTable | None = None


class SigningTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[signing]`: where the ledger's signing key is, if it does not lie beside the store.

    `file` holds an Ed25519 seed, 32 bytes in base64. `command` is a program that signs what it
    is given, as a list of its arguments and never a line for a shell; `public_key` is the key
    that its signatures are verified with, 32 bytes in base64.
    """

    file: str | None = None
    command: tuple[Annotated[str, msgspec.Meta(min_length=1)], ...] = ()
    public_key: str | None = None


class WitnessTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[anchors.witness.NAME]`: a C2SP witness, by its address and its verifier key."""

    url: str
    key: str


class FolderTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[anchors.folder.NAME]`: a folder that keeps a file for each checkpoint."""

    path: str


class CommandTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[anchors.command.NAME]`: a command that is given the checkpoint on its standard input.

    `command` is a list of arguments and never goes through a shell. `timeout` is in seconds.
    """

    command: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100)]
    timeout: Annotated[float, msgspec.Meta(gt=0, le=600)] = 30.0


class MetricsTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[metrics]`: who may read `/metrics` of `saferun serve` without being logged in.

    `token_env` names the environment variable with the token that a scraper sends as its bearer
    token. Without one, programs on this machine may.
    """

    token_env: str | None = None


class AnchorTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[anchors]`: the places outside that checkpoints are taken to.

    `quorum` is how many witnesses are enough, None for all of them; `every` is how often
    `saferun serve` goes there.
    """

    quorum: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    every: str = "1m"
    witness: dict[_Name, WitnessTable] = {}
    folder: dict[_Name, FolderTable] = {}
    command: dict[_Name, CommandTable] = {}

    @property
    def names(self) -> list[str]:
        """The names of all places, in the order in which they stand in the file."""
        return [*self.witness, *self.folder, *self.command]

    @property
    def seconds(self) -> float:
        """How often, in seconds. Raises ConfigError where `every` is no such length of time."""
        found = re.fullmatch(r"([1-9][0-9]{0,5})(s|m|h|d)", self.every)
        seconds = int(found[1]) * _UNITS[found[2]] if found is not None else 0
        if not 1 <= seconds <= _UNITS["d"] * 31:
            raise ConfigError(
                f"[anchors] every is {self.every!r}; write a number and s, m, h or d, such as "
                '"30s" or "1h", of at most 31 days'
            )
        return float(seconds)


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    store: str = "sqlite:///.saferun/saferun.db"
    ledger: str = "default"
    durability: Durability = "full"
    policies: str = "policies"
    policy: str | None = None
    policy_key: str | None = None
    environment: str | None = None
    sensitive: list[Said] = []
    record: Keeping = WHOLE
    approval: ApprovalTable = ApprovalTable()
    anchors: AnchorTable = AnchorTable()
    metrics: MetricsTable = MetricsTable()
    people: dict[str, Person] = {}
    groups: dict[str, list[str]] = {}
    signing: SigningTable = SigningTable()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What is configured, with every path absolute. `file` is None where there is no file.

    `stamp` is by what the file is known to be as it was when it was read.
    `environment` is where this process runs, `production` say, for policies that tell them apart.
    Where the policies are `published`, a policy's name means what was published under it to the
    store, and `policies` is only the folder to publish from. What is `sensitive` is kept encrypted
    under a key of the user's, until it is erased. `policy_key` is the verifier key
    (a C2SP vkey) of whoever signs what is published; without one, nothing has to be signed.
    `record` is how much is kept of what is said and given.
    """

    file: Path | None
    stamp: tuple[int, ...] | None = None
    store: str
    ledger: str
    durability: Durability
    policies: Path
    published: bool
    policy: str | None
    policy_key: str | None
    environment: str | None
    sensitive: frozenset[Said]
    approval: ApprovalTable
    anchors: AnchorTable
    people: Mapping[str, Person]
    groups: Mapping[str, Sequence[str]]
    signing: SigningTable = SigningTable()
    record: Keeping = WHOLE
    metrics: MetricsTable = MetricsTable()

    @property
    def members(self) -> dict[str, set[str]]:
        """Who stands behind each name that a rule may ask: a person is one, a group may be many."""
        members = {name: {name} for name in self.people}
        for group, some in self.groups.items():
            members.setdefault(group, set()).update(some)
        return members

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
    file, mark, table = _find(start, environ)
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
        stamp=mark,
        store=_absolute_store(read.store, base),
        ledger=read.ledger,
        durability=read.durability,
        policies=(base / ("policies" if published else read.policies)).absolute(),
        published=published,
        policy=read.policy,
        policy_key=read.policy_key,
        environment=read.environment,
        sensitive=frozenset(read.sensitive),
        record=read.record,
        approval=_approval(read.approval, file),
        anchors=_anchors(read.anchors, base, file),
        people=_told_apart(read.people, read.groups, file),
        groups=read.groups,
        signing=_signing(read.signing, file, base),
        metrics=read.metrics,
    )


class Roll(NamedTuple):
    """Who somebody is, by one file: its people, its groups, and who may break the glass."""

    people: Mapping[str, Person]
    groups: Mapping[str, Sequence[str]]
    break_glass: Sequence[str]


def roll(file: Path) -> Roll:
    """Who the people of a file are by now. Raises ConfigError where that cannot be read."""
    try:
        read = msgspec.convert(_section(file, _read(file)), _File)
    except msgspec.ValidationError as problem:
        raise ConfigError(_explained(str(problem), file, {})) from None
    return Roll(_told_apart(read.people, read.groups, file), read.groups, read.approval.break_glass)


def _told_apart(
    people: Mapping[str, Person], groups: Mapping[str, Sequence[str]], file: Path | None
) -> Mapping[str, Person]:
    """Those people, if nobody can take one of them for another. Raises ConfigError.

    Who stands in a group alone is somebody as well, and would have two votes by two spellings.
    """
    known: dict[str, str] = {}
    for name in (*people, *(each for names in groups.values() for each in names)):
        other = known.setdefault(alike(name), name)
        if other != name:
            raise ConfigError(
                f"{file}: the people {other!a} and {name!a} have names that look the"
                " same; give one of them another"
            )
    return people


def stamp(file: Path) -> tuple[int, ...] | None:
    """What a file is like without reading it, None where it is not there: it changes if it does."""
    try:
        found = file.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def signing(file: Path) -> SigningTable:
    """The `[signing]` table of a file of its own, with every path absolute. Raises ConfigError."""
    file = file.absolute()
    try:
        read = msgspec.convert(_section(file, _read(file)), _File)
    except msgspec.ValidationError as problem:
        raise ConfigError(_explained(str(problem), file, {})) from None
    return _signing(read.signing, file, file.parent)


_LOOPBACK = ("localhost", "127.0.0.1", "::1")

_PORTS = {"https": 443, "http": 80}


def _approval(table: ApprovalTable, file: Path | None) -> ApprovalTable:
    """The table with its `url` as browsers write an origin. Raises ConfigError where it is none."""
    if table.url is None:
        return table
    origin = _origin(table.url)
    if origin is None:
        raise ConfigError(
            f"{file}: [approval] url is {_without_password(table.url)[:200]!r}; write the address "
            'of the console and nothing behind it, as "https://approvals.example.com", or with '
            "http on this machine alone"
        )
    return msgspec.structs.replace(table, url=origin)


def _origin(url: str) -> str | None:
    """The origin that a URL is, as RFC 6454 writes it, and None where it is more or other."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError:
        return None
    more = (parts.path.strip("/"), parts.query, parts.fragment, "@" in parts.netloc)
    six = ":" in host
    known = re.fullmatch(r"[0-9a-f:.]+" if six else r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", host)
    if parts.scheme not in _PORTS or known is None or any(more) or set(url) & set("\\?#"):
        return None
    if parts.scheme == "http" and host not in _LOOPBACK:
        return None
    shown = f"[{host}]" if six else host
    return f"{parts.scheme}://{shown}{'' if port in (None, _PORTS[parts.scheme]) else f':{port}'}"


def _signing(table: SigningTable, file: Path | None, base: Path) -> SigningTable:
    """The table with its paths absolute, where it says one thing and nobody else could say it."""
    if table.command and table.file is not None:
        raise ConfigError(f"{file}: [signing] names a file and a command; say one of them.")
    if bool(table.command) is not (table.public_key is not None):
        raise ConfigError(f"{file}: [signing] takes `command` and `public_key` together.")
    if table.public_key is not None:
        try:
            known = len(base64.b64decode(table.public_key, validate=True)) == _KEY_BYTES
        except ValueError:
            known = False
        if not known:
            raise ConfigError(
                f"{file}: public_key under [signing] is not {_KEY_BYTES} bytes in base64."
            )
    if table.file is not None:
        return SigningTable(file=str((base / table.file).absolute()))
    if not table.command:
        return table
    assert file is not None
    _only_ours(file)
    program, *arguments = table.command
    # A bare name is looked up on PATH; anything else is meant from the folder of the file.
    if "/" in program:
        program = str((base / program).absolute())
    return SigningTable(command=(program, *arguments), public_key=table.public_key)


def _only_ours(file: Path) -> None:
    """Refuse a file that names a program to run and that others could have written."""
    for each in (file, file.parent):
        found = each.stat()
        if found.st_uid not in (0, os.getuid()) or stat.S_IMODE(found.st_mode) & 0o022:
            raise ConfigError(
                f"{file} names a command under [signing], and {each} can be written by others than "
                f"you; run chmod go-w {each}, or have its owner do so."
            )


def _anchors(table: AnchorTable, base: Path, file: Path | None) -> AnchorTable:
    """The places, their paths absolute. Raises ConfigError where they cannot be those."""
    try:
        _ = table.seconds
    except ConfigError as problem:
        raise ConfigError(f"{file}: {problem}") from None
    names = table.names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(
            f"{file}: two places under [anchors] are called {twice!r}; call one differently"
        )
    if table.quorum is not None and table.quorum > len(table.witness):
        raise ConfigError(
            f"{file}: [anchors] quorum is {table.quorum}, and there are {len(table.witness)} "
            "witnesses; name more of them, or ask for fewer"
        )
    folders = {
        name: FolderTable(path=str((base / each.path).absolute()))
        for name, each in table.folder.items()
    }
    return msgspec.structs.replace(table, folder=folders)


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


def _find(
    start: Path, environ: Mapping[str, str]
) -> tuple[Path | None, tuple[int, ...] | None, dict[str, Any]]:
    named = environ.get("SAFERUN_CONFIG")
    if named:
        file = (start / named).absolute()
        # What it is like is looked at first: a change in between is seen as one later.
        mark = stamp(file)
        return file, mark, _section(file, _read(file))
    for folder in (start, *start.parents):
        for name in ("saferun.toml", "pyproject.toml"):
            file = folder / name
            if file.is_file():
                mark = stamp(file)
                table = _read(file)
                if name == "saferun.toml" or "saferun" in _tools(table):
                    return file, mark, _section(file, table)
    return None, None, {}


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
        return tomllib.loads(files.arrived(file, _MAX_FILE, files.PATIENCE).decode())
    except OSError as problem:
        raise ConfigError(f"{file} cannot be read: {problem.strerror}.") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{file} cannot be read: {problem}") from None
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{file} is not valid TOML: {problem}") from None


def _explained(problem: str, file: Path | None, environ: Mapping[str, str]) -> str:
    set_by = [name for name, key in _ENVIRONMENT.items() if f"`$.{key}`" in problem]
    where = next((name for name in set_by if environ.get(name)), file or "the environment")
    said = f"{where}: {problem}"
    unknown = re.search(r"unknown field `(\w+)`", problem)
    if unknown is not None:
        known = {name for table in _TABLES for name in table.__struct_fields__}
        close = difflib.get_close_matches(unknown[1], sorted(known), 1)
        said += f"; did you mean {close[0]!r}?" if close else ""
    return said


_TABLES = (
    *(_File, ApprovalTable, SlackTable, EmailTable, WebhookTable, SigningTable, Person),
    *(AnchorTable, WitnessTable, FolderTable, CommandTable, MetricsTable),
)

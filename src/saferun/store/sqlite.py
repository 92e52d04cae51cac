"""SQLite: opening a store's file, its schema, and what its errors mean in plain words."""

import contextlib
import errno
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TypeAlias

from saferun.barrier import only_looking
from saferun.config import Durability
from saferun.errors import StoreError
from saferun.store.forks import Reading

VERSION = 6
"""Of the schema, in `PRAGMA user_version`. Migrations below lead up to it one by one."""

APPLICATION = 0x5352_4E31
"""`SRN1` in `PRAGMA application_id`: a file of somebody else's is never written to."""

EXCERPT = 0x5352_4E58
"""`SRNX` in its place: part of a ledger, which is read as a store is and never written to."""

BUSY = 5_000
"""Milliseconds that a statement waits for a lock of SQLite's own."""

MAX_CELL = 1 << 27
"""Bytes of one value, and of one row. Nothing that is kept comes near it: a file in which
something does was written by somebody else, and is not to fill the memory of whoever reads it."""

_MIGRATIONS: dict[int, str] = {
    1: """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

    -- Row -1 is the ledger's head. It moves in the same transaction as the entries, so numbers
    -- have no gaps and the frontier is always that of exactly the entries that are there.
    -- Every other row is a call that may have started and has no end yet, by the number of its
    -- decision. Both change with nearly every commit, and a commit pays for every page that it
    -- touches: in one small table they lie on one page.
    CREATE TABLE head (
        seq INTEGER PRIMARY KEY, size INTEGER, time INTEGER, frontier BLOB,
        boot TEXT, call BLOB, approval TEXT
    );
    CREATE TABLE entry (seq INTEGER PRIMARY KEY, body BLOB NOT NULL, leaf BLOB NOT NULL);

    -- Large values, by the hash of salt and data that the entries name.
    CREATE TABLE blob (hash BLOB PRIMARY KEY, salt BLOB NOT NULL, data BLOB NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE checkpoint (size INTEGER PRIMARY KEY, note BLOB NOT NULL);

    -- Whom a run id belongs to, bound at its first use.
    CREATE TABLE run (run_id TEXT PRIMARY KEY, seq INTEGER NOT NULL, identity BLOB NOT NULL)
        WITHOUT ROWID;

    -- Calls that came with an id, so that the same call is decided once.
    CREATE TABLE call (key BLOB PRIMARY KEY, decision INTEGER NOT NULL, outcome INTEGER)
        WITHOUT ROWID;
    CREATE TABLE counter (key BLOB PRIMARY KEY, used INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE approval (
        id TEXT PRIMARY KEY, state TEXT NOT NULL, call BLOB, binding BLOB NOT NULL,
        deadline INTEGER NOT NULL, request BLOB NOT NULL, by TEXT, reason TEXT
    ) WITHOUT ROWID;
    CREATE INDEX approval_call ON approval (call) WHERE call IS NOT NULL;

    -- Which entries are frames of which run: derived from the ledger, rebuilt at will.
    CREATE TABLE frame (run_id TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (run_id, seq))
        WITHOUT ROWID;
    """,
    2: """
    -- Every version of a policy that ever decided or was published, whole, by its own hash.
    CREATE TABLE version (
        version TEXT PRIMARY KEY, name TEXT NOT NULL, since INTEGER NOT NULL, data BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX version_name ON version (name);

    -- What decides under a policy's name: the one with the highest serial holds.
    CREATE TABLE assignment (
        name TEXT NOT NULL, serial INTEGER NOT NULL, note BLOB NOT NULL,
        PRIMARY KEY (name, serial)
    ) WITHOUT ROWID;

    -- The version that a run and its children keep, until it is over.
    CREATE TABLE pin (
        root TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, serial INTEGER NOT NULL,
        until INTEGER NOT NULL, PRIMARY KEY (root, name)
    ) WITHOUT ROWID;
    CREATE INDEX pin_until ON pin (until);

    -- Where a run's family begins, if that is not with the run itself: a child may be the first
    -- of it that is heard of.
    CREATE TABLE family (root TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;

    -- Who may publish, by the keyed digest of a secret that only they have.
    CREATE TABLE person (name TEXT PRIMARY KEY, credential BLOB NOT NULL) WITHOUT ROWID;
    """,
    3: """
    -- What the controls keep, by group: the limits of one user, say, or the health of one tool.
    -- They move with nearly every commit, so they stand with what does so too, below row -1:
    -- where groups are few they share its page.
    -- `seq` is a keyed digest of the group there, `about` says it for people, `time` is when it
    -- moved last. Counters of before counted within one run only, and cannot be told apart: they
    -- begin anew.
    DROP TABLE counter;
    ALTER TABLE head ADD COLUMN about BLOB;
    ALTER TABLE head ADD COLUMN data BLOB;
    CREATE VIEW control AS SELECT seq AS key, time, about, data FROM head WHERE seq < -1;

    -- What is stopped. The head row counts the turns, so that nobody has to look here each time.
    CREATE TABLE switch (
        scope TEXT NOT NULL, value TEXT NOT NULL, by TEXT NOT NULL, reason TEXT,
        since INTEGER NOT NULL, PRIMARY KEY (scope, value)
    ) WITHOUT ROWID;
    ALTER TABLE head ADD COLUMN switches INTEGER NOT NULL DEFAULT 0;

    -- What a call that is open counts towards: what is spoken for, and what is given back should
    -- it turn out that it never started.
    ALTER TABLE head ADD COLUMN held BLOB;

    -- The ids of all that a request asks a person to override.
    ALTER TABLE approval ADD COLUMN overrides TEXT NOT NULL DEFAULT '';

    -- The process that has seen all of a run: its memory of it is what the loop control asks.
    -- The head row counts how often one has taken over a run from another.
    CREATE TABLE trail (root TEXT PRIMARY KEY, boot TEXT NOT NULL) WITHOUT ROWID;
    ALTER TABLE head ADD COLUMN takeovers INTEGER NOT NULL DEFAULT 0;

    -- The children of a run, for whoever reads what the whole family has done.
    CREATE TABLE child (root TEXT NOT NULL, run_id TEXT NOT NULL, PRIMARY KEY (root, run_id))
        WITHOUT ROWID;
    """,
    4: """
    -- The tree's right edge at each checkpoint: what came since is held against it before the
    -- next one is signed. NULL for checkpoints of before.
    ALTER TABLE checkpoint ADD COLUMN frontier BLOB;

    -- Roots of perfect subtrees, `place`-th of those over 2^level leaves: derived from the leaves
    -- and off the path of calls, so that a proof reads hundreds of hashes and not a million.
    CREATE TABLE node (
        level INTEGER NOT NULL, place INTEGER NOT NULL, hash BLOB NOT NULL,
        PRIMARY KEY (level, place)
    ) WITHOUT ROWID;
    -- The entries that say under which name and key the ledger goes on, or what was archived:
    -- by number, noted with the nodes and derived as they are.
    CREATE TABLE landmark (seq INTEGER PRIMARY KEY);

    -- What opens the commitments that entries hold: salt, path and value, encrypted under the key
    -- of their subject; and those keys, wrapped by one that lies outside of this file.
    -- They may be large and come at the end of their table: a commit pays for each page it
    -- touches.
    CREATE TABLE opening (hash BLOB NOT NULL, subject BLOB NOT NULL, sealed BLOB NOT NULL);
    CREATE UNIQUE INDEX opening_hash ON opening (hash);
    CREATE INDEX opening_subject ON opening (subject);
    CREATE TABLE subject (subject BLOB PRIMARY KEY, key BLOB NOT NULL) WITHOUT ROWID;

    -- How far each place outside has the ledger: the checkpoint that it took last, as it gave it
    -- back, and when that was; and why it has not taken the newest, and whether that speaks
    -- against the ledger.
    CREATE TABLE anchor (
        name TEXT PRIMARY KEY, size INTEGER NOT NULL, time INTEGER NOT NULL, note BLOB NOT NULL,
        tried INTEGER NOT NULL, failed TEXT, against INTEGER NOT NULL
    ) WITHOUT ROWID;

    -- Calls of which entry `said` records that nobody knows how they ended, until somebody has
    -- found out: by the number of their decision, which was made at `at`, with what settling them
    -- needs. Of those from before, what they held is not known any more.
    CREATE TABLE unknown (
        seq INTEGER PRIMARY KEY, said INTEGER NOT NULL, at INTEGER NOT NULL, tool TEXT NOT NULL,
        call BLOB, approval TEXT, held BLOB
    );
    INSERT OR IGNORE INTO unknown
    SELECT made.seq, ended.seq, json_extract(made.body, '$.time'),
        json_extract(made.body, '$.tool'), call.key, json_extract(made.body, '$.approval'), NULL
    FROM (
        SELECT seq, CAST(body AS TEXT) AS body FROM entry
        WHERE instr(body, CAST('"status":"unknown"' AS BLOB))
    ) AS ended
    JOIN (SELECT seq, CAST(body AS TEXT) AS body FROM entry) AS made ON made.seq =
        CASE WHEN json_valid(ended.body)
        AND json_extract(ended.body, '$.status') = 'unknown'
        AND json_extract(ended.body, '$.kind') IN ('recovery', 'outcome')
        THEN json_extract(ended.body, '$.of') END
    LEFT JOIN call ON call.decision = made.seq
    WHERE CASE WHEN json_valid(made.body) THEN json_extract(made.body, '$.kind') END = 'decision';
    -- Which entries lie in archives, and which entry says so: derived from those entries.
    CREATE TABLE archive (first INTEGER PRIMARY KEY, size INTEGER NOT NULL, seq INTEGER NOT NULL);
    -- Which entries are of which run: in the search index now, which has a file of its own.
    DROP TABLE frame;
    DELETE FROM meta WHERE name = 'indexed';
    """,
    5: """
    -- Requests to people. `request` and `held`, the question and the call itself, are sealed under
    -- a key of the request's own that lies outside of this file and goes when it ends. `moved` is
    -- the entry that said last how it stands, and `decision` the one that asked, or else that lets
    -- it start. Calls that are the `same` wait for one answer, that of their `lead`. An approved
    -- one has `lease` microseconds.
    -- What was asked before in another form can no longer be answered.
    UPDATE approval SET state = 'cancelled' WHERE state IN ('pending', 'approved');
    ALTER TABLE approval ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE approval ADD COLUMN moved INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE approval ADD COLUMN decision INTEGER;
    ALTER TABLE approval ADD COLUMN tool TEXT NOT NULL DEFAULT '';
    ALTER TABLE approval ADD COLUMN same BLOB;
    ALTER TABLE approval ADD COLUMN lead TEXT;
    ALTER TABLE approval ADD COLUMN held BLOB;
    ALTER TABLE approval ADD COLUMN lease INTEGER NOT NULL DEFAULT 60000000;
    ALTER TABLE approval ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE approval ADD COLUMN escalated INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX approval_moved ON approval (moved);
    CREATE INDEX approval_same ON approval (same) WHERE same IS NOT NULL;
    CREATE INDEX approval_lead ON approval (lead) WHERE lead IS NOT NULL;

    -- Who has answered what, about which revision of a request.
    CREATE TABLE vote (
        approval TEXT NOT NULL, revision INTEGER NOT NULL, by TEXT NOT NULL,
        approved INTEGER NOT NULL, reason TEXT, channel TEXT NOT NULL, at INTEGER NOT NULL,
        glass INTEGER NOT NULL, PRIMARY KEY (approval, revision, by)
    ) WITHOUT ROWID;

    -- Answers that hold for further calls too, by whose they are.
    CREATE TABLE permit (
        id TEXT PRIMARY KEY, whose TEXT NOT NULL, until INTEGER NOT NULL, data BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX permit_whose ON permit (whose);

    -- How far each channel has brought each request: the entry that it has shown last, and what
    -- it needs to change what it has shown. `boot` is the process that is at it.
    CREATE TABLE delivery (
        approval TEXT NOT NULL, channel TEXT NOT NULL, boot TEXT, shown INTEGER NOT NULL,
        receipt TEXT, tries INTEGER NOT NULL, due INTEGER NOT NULL, failed TEXT,
        PRIMARY KEY (approval, channel)
    ) WITHOUT ROWID;

    -- What has come in from outside, so that nothing counts twice.
    CREATE TABLE callback (
        channel TEXT NOT NULL, id TEXT NOT NULL, until INTEGER NOT NULL,
        PRIMARY KEY (channel, id)
    ) WITHOUT ROWID;
    CREATE INDEX callback_until ON callback (until);

    -- What lets somebody answer from outside: the hash of a token that only their message has,
    -- bound to what they were shown, and the digest of the code that goes with it.
    CREATE TABLE ticket (
        id INTEGER PRIMARY KEY, token BLOB NOT NULL UNIQUE, approval TEXT NOT NULL,
        revision INTEGER NOT NULL, by TEXT NOT NULL, channel TEXT NOT NULL,
        until INTEGER NOT NULL, code BLOB, message TEXT, tries INTEGER NOT NULL
    );
    CREATE INDEX ticket_approval ON ticket (approval, channel);
    CREATE INDEX ticket_until ON ticket (until);
    """,
    6: """
    -- Who waits for the answer to a request about one call, and in which process: the last of them
    -- withdraws it. One who has left waits in none, and for as long as it stands.
    CREATE TABLE waiting (
        approval TEXT NOT NULL, caller TEXT NOT NULL, boot TEXT, PRIMARY KEY (approval, caller)
    ) WITHOUT ROWID;
    """,
}

_REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "9p", "glusterfs", "lustre"),
        *("beegfs", "gpfs", "fuse.sshfs", "fuse.s3fs", "fuse.gcsfuse", "fuse.glusterfs"),
        *("fuse.rclone", "fuse.blobfuse2", "davfs", "fuse.davfs"),
    }
)


class ChangedError(StoreError):
    """Something stands in a store's file that no store writes there."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path, what)
        self.path = path
        self.what = what

    def __str__(self) -> str:
        return f"{self.path} was changed: {self.what}; run saferun ledger verify."


class FullError(StoreError):
    """The disk that a store lies on has no room left."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return f"The disk of {self.path} is full; free some space, and it goes on."


class ExcerptError(StoreError):
    """Something would be written to a part of a ledger, which is there to be read."""


def connect(
    path: Path, durability: Durability, *, write: bool = True, forks_wait: bool = True
) -> sqlite3.Connection:
    """A connection set up for this store. `write=False` may look but not touch.

    Forks wait for what only looks, unless with `forks_wait=False` its owner has seen to that.
    Who writes has locks, which forks take before; to be waited for as well would be a deadlock.

    Raises StoreError with one sentence on what is wrong and what to do.
    """
    with explained(path):
        if not write and not path.exists():
            raise StoreError(f"There is no store at {path} yet; run a guarded call first.")
        if write and not path.exists():
            # SQLite would make it readable for everybody; its log and shared memory take over
            # the mode. Never on a file that is there: closing a descriptor of it would drop the
            # locks that other connections of this process hold.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with contextlib.nullcontext() if write else only_looking():
            connection = sqlite3.connect(
                path,
                timeout=BUSY / 1000,
                isolation_level=None,
                check_same_thread=False,
                factory=Reading if forks_wait and not write else sqlite3.Connection,
            )
        try:
            _set_up(connection, path, durability, write=write)
        except BaseException:
            connection.close()
            raise
        return connection


def _set_up(
    connection: sqlite3.Connection, path: Path, durability: Durability, *, write: bool
) -> None:
    guarded(connection)
    # Of one moment, also while another process migrates it.
    connection.execute("BEGIN")
    try:
        _known(connection, path, write=write)
    finally:
        # SQLite has ended it by itself where the disk has failed it, and what it said is to be
        # heard.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if not write:
        connection.execute("PRAGMA query_only = ON")
        return
    connection.execute("PRAGMA journal_mode = WAL")
    # In WAL mode FULL syncs every commit; NORMAL syncs at checkpoints only, which a killed
    # process survives and a power cut does not.
    connection.execute(f"PRAGMA synchronous = {'FULL' if durability == 'full' else 'NORMAL'}")
    if sys.platform == "darwin":
        # Without these, fsync on macOS stops at the drive's cache.
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
    # Checkpoints run beside the hot path, never inside somebody's commit; and the log keeps its
    # size, since growing a file costs a sync twice as much as writing over it.
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("PRAGMA journal_size_limit = -1")


def guarded(connection: sqlite3.Connection) -> None:
    """Have SQLite take a file for what it may be: one that somebody made to do harm.

    After https://www.sqlite.org/security.html.
    """
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    if sys.version_info >= (3, 12):
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)


def _known(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    """Hold a file against what a store of its version is. Raises StoreError."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application == EXCERPT and write:
        raise ExcerptError(
            f"{path} holds part of a ledger, of an incident, and nothing is ever written to it; "
            "name another file for `store`."
        )
    if application not in (0, APPLICATION, EXCERPT) or (
        application == 0
        and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] > 0
    ):
        raise StoreError(f"{path} is a database of another program; name another file for `store`.")
    if version < 0 or (application != 0 and version == 0):
        raise StoreError(
            f"{path} was changed: its schema is of no version that there was; keep the file, and "
            "restore a backup beside it."
        )
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer SafeRun (schema {version}, this one knows {VERSION}); "
            "upgrade saferun-sdk in this environment."
        )
    if application != 0:
        hold_schema(path, connection, _schema(version))


Schema: TypeAlias = Mapping[tuple[str, str], str]
"""Tables, indexes and views by their type and name, each with how it was made."""

_STATISTICS: Schema = {
    ("table", "sqlite_stat1"): "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    ("table", "sqlite_stat4"): "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
"""What somebody leaves behind who has a tool look after the file; no harm comes of it."""


@cache
def _schema(version: int) -> Schema:
    """The schema of a store of that version."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        for step in range(1, version + 1):
            made.executescript(_MIGRATIONS[step])
        return found_schema(made)


def known_tables() -> frozenset[str]:
    """How the tables and views of a store are made, in every version that there was."""
    return frozenset(sql for step in range(VERSION + 1) for sql in _schema(step).values())


def found_schema(connection: sqlite3.Connection) -> Schema:
    """What a database is made of, as far as that is anything that one of ours could be."""
    found = connection.execute(
        "SELECT type, name, CASE WHEN length(sql) < 10000 THEN sql END FROM sqlite_schema"
        " WHERE sql IS NOT NULL LIMIT 1000"
    )
    return {(str(kind), str(name)): " ".join(str(sql).split()) for kind, name, sql in found}


def hold_schema(path: Path, connection: sqlite3.Connection, schema: Schema) -> None:
    """Hold a database against a schema: it has that, and nothing else.

    A view in the place of a table could keep its reader busy for ever, and a trigger, or a column
    that is worked out, could do so with whoever writes. Raises StoreError.
    """
    found = found_schema(connection)
    if found == schema:
        return
    if lost := next((key for key in schema if key not in found), None):
        what = f"it has lost its {' '.join(lost)}"
    else:
        allowed = {**schema, **_STATISTICS}
        odd = (key for key, sql in found.items() if allowed.get(key) != sql)
        if (other := next(odd, None)) is None:
            return
        what = f"its {other[0]} {other[1][:80]!r} is none that a store makes"
    raise StoreError(
        f"{path} was changed: {what}; keep the file, and restore a backup beside it, or save what "
        "can be read with saferun ledger recover --salvage NEW.db."
    )


def is_excerpt(connection: sqlite3.Connection) -> bool:
    """Whether what is open for reading is part of a ledger alone."""
    return bool(connection.execute("PRAGMA application_id").fetchone()[0] == EXCERPT)


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring the schema up to VERSION, under the write lock. True where the file was new."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    for step in range(version + 1, VERSION + 1):
        try:
            # One transaction a step: a crash leaves the version before or the version after.
            connection.executescript(
                f"BEGIN IMMEDIATE; {_MIGRATIONS[step]} PRAGMA application_id = {APPLICATION};"
                f" PRAGMA user_version = {step}; COMMIT;"
            )
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return version == 0


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite or the disk says into a StoreError that says what to do."""
    try:
        yield
    except UnicodeDecodeError:
        # SQLite has quoted a schema that is torn.
        raise StoreError(_damaged(path)) from None
    except (sqlite3.DataError, OverflowError):
        raise ChangedError(path, "it holds a value larger than any that a store writes") from None
    except (sqlite3.Error, OSError) as problem:
        if "could not decode" in str(problem).lower():
            raise ChangedError(path, "a text in it is none") from None
        if _full(path, problem):
            raise FullError(path) from None
        raise StoreError(_sentence(path, problem)) from None


def _full(path: Path, problem: Exception) -> bool:
    if isinstance(problem, OSError):
        return problem.errno in (errno.ENOSPC, errno.EDQUOT)
    said = str(problem).lower()
    if "full" in said:
        return True
    if "disk i/o error" not in said:
        return False
    # What SQLite maps into memory cannot grow on a full disk, and then it names no reason.
    try:
        left = os.statvfs(path.parent)
    except OSError:
        return False
    return left.f_bavail * left.f_frsize < _LITTLE


_LITTLE = 64 * 1024
"""Bytes that SQLite needs at once, for the memory that those share who have a file open."""


def _sentence(path: Path, problem: Exception) -> str:
    said = str(problem).lower()
    if "readonly" in said or "read-only" in said or isinstance(problem, PermissionError):
        return f"{path} cannot be written; give this user write access to the file and its folder."
    if "not a database" in said or "malformed" in said or "corrupt" in said:
        return _damaged(path)
    if "unable to open" in said and path.is_file() and not os.access(path.parent, os.W_OK):
        # What SQLite keeps beside a database it makes, and takes away, with whoever only reads too.
        return (
            f"{path} can be read only where its folder can be written, for SQLite's own files; "
            "copy it to such a place, with the folder `keys` beside it."
        )
    if "unable to open" in said or isinstance(problem, FileNotFoundError):
        return f"{path} cannot be opened; check that its folder exists and can be written."
    if "locked" in said:
        return f"{path} is locked by another program; close what else has it open."
    return f"{path} cannot be used: {problem}."


def _damaged(path: Path) -> str:
    return (
        f"{path} is damaged or not a SafeRun store; keep the file, and restore a backup beside it, "
        "or save what can be read with saferun ledger recover --salvage NEW.db."
    )


def check_location(path: Path, mounts: str | None = None) -> None:
    """Refuse a network file system, where neither `flock` nor WAL's shared memory holds.

    `mounts` is the text of /proc/self/mountinfo; where there is none (macOS), nothing is
    checked. Raises StoreError.
    """
    if mounts is None:
        table = Path("/proc/self/mountinfo")
        if not table.exists():
            return
        mounts = table.read_text(encoding="utf-8", errors="replace")
    target = path.absolute()
    best, kind = "", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        point = fields[4].replace("\\040", " ")
        if len(point) >= len(best) and target.is_relative_to(point):
            best, kind = point, right.split()[0]
    if kind in _REMOTE:
        raise StoreError(
            f"{path} lies on a network file system ({kind} at {best}), where file locks do not "
            "hold; put the store on a local disk."
        )


def overdue(connection: sqlite3.Connection, now: Callable[[], int]) -> bool:
    """Whether a request to people is pending though its time is over; most stores have none."""
    found = connection.execute("SELECT min(deadline) FROM approval WHERE state = 'pending'")
    (first,) = found.fetchone()
    return first is not None and int(first) < now()

"""What is said, and what is kept, when the file or its disk is not as it should be."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from saferun.errors import ConfigError, StoreError
from saferun.store import Reader, Store, sqlite
from saferun.store.custody import Custody
from saferun.store.keys import Keys
from storing import admit, audit, kinds, settle


def fill(store: Store) -> None:
    """Let the database have no page more than it has: SQLite's own way of a full disk."""
    connection = store._writer._opened()[0]
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")


def make_room(store: Store) -> None:
    store._writer._opened()[0].execute("PRAGMA max_page_count = 1000000")


def test_a_full_disk_is_said_and_nothing_of_the_commit_is_kept(store: Store, file: Path) -> None:
    written = 0

    def until_full() -> None:
        nonlocal written
        for _ in range(1000):
            fill(store)
            store.commit(admit(store, entry={"args": "x" * 2_000}))
            written += 1

    with pytest.raises(StoreError, match="is full; free some space"):
        until_full()
    report = audit(file)
    assert report.problem is None
    assert (report.entries, report.dangling) == (written + 1, written)


def test_after_a_full_disk_the_store_goes_on(store: Store, file: Path) -> None:
    fill(store)
    with pytest.raises(StoreError):
        store.commit(admit(store, entry={"args": "x" * 60_000}))
    make_room(store)
    store.commit(admit(store))
    assert kinds(file) == ["ledger", "decision"]


def test_an_outcome_that_cannot_be_written_is_kept_and_goes_first(
    open_store: Callable[..., Store], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(outcomes_ride=False)
    seq = store.commit(admit(store)).seq
    broken = sqlite3.OperationalError("disk I/O error")

    def fail(*_: object) -> None:
        raise broken

    with monkeypatch.context() as patch:
        patch.setattr(store._writer, "_commit", fail)
        store.ride(settle(store, seq))
        with pytest.raises(StoreError, match="cannot be used: disk I/O error"):
            store.commit(admit(store))
        assert kinds(file) == ["ledger", "decision"]
    store.commit(admit(store))
    assert kinds(file) == ["ledger", "decision", "outcome", "decision"]


def test_a_commit_whose_answer_was_lost_is_read_back(store: Store, file: Path) -> None:
    connection = store._writer._opened()[0]

    class Mute:
        """Commits, and then says that it could not."""

        def execute(self, statement: str, *values: object):
            done = connection.execute(statement, *values)
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return done

        def __getattr__(self, name: str):
            return getattr(connection, name)

    store._writer._connection = Mute()  # type: ignore[assignment]
    assert store.commit(admit(store)).seq == 1
    store._writer._connection = connection
    assert store.commit(admit(store)).seq == 2
    assert audit(file).problem is None


def test_a_file_of_another_program_is_never_written_to(file: Path) -> None:
    file.parent.mkdir()
    with sqlite3.connect(file) as other:
        other.execute("CREATE TABLE theirs (a)")
    before = file.read_bytes()
    with pytest.raises(StoreError, match="database of another program"):
        Store(f"sqlite:///{file}")
    assert file.read_bytes() == before


def test_a_file_that_is_no_database_is_said_to_be_damaged(file: Path) -> None:
    file.parent.mkdir()
    file.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(StoreError, match="is damaged or not a SafeRun store"):
        Store(f"sqlite:///{file}")


def test_a_file_of_a_newer_version_asks_for_an_upgrade(
    open_store: Callable[..., Store], file: Path
) -> None:
    open_store().close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"written by a newer SafeRun .* upgrade saferun-sdk"):
        open_store()


def test_a_torn_page_is_said_to_be_damage(open_store: Callable[..., Store], file: Path) -> None:
    store = open_store()
    for _ in range(50):
        store.commit(admit(store, entry={"args": "x" * 3_000}))
    store.close()
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(8 * 4096))

    def go_on() -> None:
        again = open_store()
        again.commit(admit(again))

    with pytest.raises(StoreError, match="damaged"):
        go_on()


def test_a_network_file_system_is_refused() -> None:
    mounts = (
        "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        "30 22 0:40 / /srv/team rw shared:2 - nfs4 server:/team rw\n"
    )
    with pytest.raises(StoreError, match=r"network file system \(nfs4 at /srv/team\)"):
        sqlite.check_location(Path("/srv/team/agents/saferun.db"), mounts)
    sqlite.check_location(Path("/srv/teamwork/saferun.db"), mounts)


def test_a_store_that_is_not_sqlite_is_refused_without_its_password() -> None:
    with pytest.raises(ConfigError) as refused:
        Store("postgresql://agent:hunter2@db/saferun")
    assert "hunter2" not in str(refused.value)


def test_reading_where_there_is_no_store_makes_none(file: Path) -> None:
    file.parent.mkdir()
    with pytest.raises(StoreError, match="no store at"):
        Reader(file)
    assert list(file.parent.iterdir()) == []


def test_another_ledger_name_is_refused(open_store: Callable[..., Store]) -> None:
    open_store(ledger="prod").close()
    with pytest.raises(StoreError, match="holds the ledger 'prod', not 'dev'"):
        open_store(ledger="dev")


def test_a_digest_key_that_is_missing_is_asked_for_and_not_made_anew(
    open_store: Callable[..., Store], file: Path
) -> None:
    open_store().close()
    key = file.parent / "keys" / "digest.key"
    key.unlink()
    with pytest.raises(StoreError, match=r"put the original digest\.key back"):
        open_store()
    assert not key.exists()


def test_another_digest_key_is_refused(open_store: Callable[..., Store], file: Path) -> None:
    open_store().close()
    (file.parent / "keys" / "digest.key").write_text("A" * 43 + "=\n")
    with pytest.raises(StoreError, match="made with another digest key"):
        open_store()


def test_without_its_signing_key_a_store_decides_and_does_not_sign(
    open_store: Callable[..., Store], file: Path
) -> None:
    open_store().close()
    key = file.parent / "keys" / "default.signing.key"
    key.unlink()
    store = open_store()
    assert store.commit(admit(store)).starts
    with pytest.raises(StoreError, match=r"put the original default\.signing\.key back"):
        store.signer()
    assert not key.exists()


def test_keys_are_made_for_their_owner_alone_and_kept(tmp_path: Path) -> None:
    made = Keys.open(tmp_path / "keys", founding=True, environ={})
    again = Keys.open(tmp_path / "keys", founding=False, environ={})
    assert made.digest(b"x") == again.digest(b"x")
    vkey = Custody(tmp_path / "keys", "default", environ={}).made("name")
    signer = Custody(tmp_path / "keys", "default", environ={}).signer("name", vkey)
    assert signer is not None
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()}
    assert modes == {"digest.key": 0o600, "default.signing.key": 0o600}


def test_a_key_that_is_not_32_bytes_is_refused_without_being_shown(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="not 32 bytes") as refused:
        Keys.open(tmp_path, founding=True, environ={"SAFERUN_DIGEST_KEY": "c2hvcnQ="})
    assert "c2hvcnQ" not in str(refused.value)


def test_the_keys_are_not_in_the_database(open_store: Callable[..., Store], file: Path) -> None:
    store = open_store()
    store.commit(admit(store))
    store.close()
    held = file.read_bytes()
    for key in (file.parent / "keys").glob("*.key"):
        assert key.read_bytes().strip() not in held


def test_a_read_only_file_is_said_to_be_one(open_store, file: Path) -> None:
    # Root may write anything, so the kernel has to say no: a read-only bind would need a mount.
    open_store().close()
    script = (
        "import sys, sqlite3\n"
        "from pathlib import Path\n"
        "from saferun.store import sqlite\n"
        "with sqlite.explained(Path('f.db')):\n"
        "    raise sqlite3.OperationalError('attempt to write a readonly database')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "f.db cannot be written; give this user write access" in done.stderr


def test_a_store_in_a_folder_that_cannot_be_written_is_to_be_copied(
    open_store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store().close()
    monkeypatch.setattr(os, "access", lambda *_: False)
    for path, said in (
        (file, "copy it to such a place, with the folder `keys`"),
        (file.with_name("other.db"), "cannot be opened; check that its folder exists"),
    ):
        with pytest.raises(StoreError, match=said), sqlite.explained(path):
            raise sqlite3.OperationalError("unable to open database file")


def test_a_signal_handler_that_interrupts_a_commit_is_not_kept_waiting_for_it(tmp_path) -> None:
    script = """
import os, signal, sys
from saferun.store import Store
from saferun.errors import StoreError
from saferun.ledger import UserEntry, encode
from saferun.store import Append

store = Store(f"sqlite:///{sys.argv[1]}/a.db", durability="process")
said = []

class Interrupted(Append):
    def apply(self, tx):
        os.kill(os.getpid(), signal.SIGTERM)
        return super().apply(tx)

def stop(*_):
    try:
        store.commit(Append([encode(UserEntry(run="r", text="x"))], store.boot))
    except StoreError as problem:
        said.append(str(problem))
    store.close()

store.boot
signal.signal(signal.SIGTERM, stop)
store.commit(Interrupted([encode(UserEntry(run="r", text="x"))], store.boot))
print(said)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "committing in this very thread" in done.stdout


@pytest.mark.parametrize(
    ("left", "said"), [(0, "is full; free some space"), (1 << 20, "I/O error")]
)
def test_a_disk_that_gives_no_reason_is_full_where_it_has_no_room(
    file: Path, monkeypatch: pytest.MonkeyPatch, left: int, said: str
) -> None:
    room = os.statvfs_result((4096, 4096, 1000, left // 4096, left // 4096, 9, 9, 9, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: room)
    with pytest.raises(StoreError, match=said) as caught, sqlite.explained(file):
        raise sqlite3.OperationalError("disk I/O error")
    assert isinstance(caught.value, sqlite.FullError) == (left == 0)


def test_a_disk_that_is_full_as_the_store_is_opened_is_said_to_be(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def known(connection: sqlite3.Connection, *_: object, **__: object) -> None:
        # As SQLite does by itself, where the disk fails it.
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite, "_known", known)
    with pytest.raises(sqlite.FullError, match="free some space"), sqlite.explained(file):
        sqlite.connect(file, "full", write=False)


def test_what_sqlite_says_of_a_torn_schema_may_be_no_text(open_store, file: Path) -> None:
    """It quotes the name that is malformed, whatever bytes that has."""
    open_store().close()
    data = file.read_bytes()
    torn = data.replace(b"tableentryentry", b"table\xf4ntryentry")
    torn = torn.replace(b"CREATE TABLE entry (", b"CREATE TABLE entry )")
    assert torn != data
    file.write_bytes(torn)
    with pytest.raises(StoreError, match="is damaged or not a SafeRun store"):
        Reader(file)

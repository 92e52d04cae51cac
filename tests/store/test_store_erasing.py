"""Erasure: nothing opens what was erased, everything else opens, whoever dies in between."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from saferun.errors import StoreError
from saferun.ledger import DecisionEntry, encode, read
from saferun.sealing import Sealing
from saferun.store import Append, Enrol, Reader, Seal, Store, WrongSecretError, erasing, vault
from saferun.store.erasing import erase
from saferun.store.openings import Openings
from searching import holding
from storing import audit, kinds

TESTS = str(Path(__file__).parent.parent)
SECRET = b"dana's"


def keep(store: Store, whose: str, *values: str) -> list[bytes]:
    """Seal values of somebody's in an entry; their commitments."""
    sealing = Sealing()
    for value in values:
        sealing.whole("args.email", f'"{value}"'.encode())
    entry = DecisionEntry(tool="look", verdict="deny", sealed=sealing.names)
    seal = Seal(store.subject(None, whose), sealing.values)
    store.commit(Append([encode(entry)], store.boot, seal=seal))
    return [each.commitment for each in sealing.values]


def forget(store: Store, *subjects: str, secret: bytes = SECRET, patience: float = 10.0):
    store.commit(Enrol("dana", SECRET))
    return erase(
        store, subjects, by="dana", credential=secret, reason="asked to", patience=patience
    )


def opens(file: Path, commitment: bytes) -> bool:
    with Reader(file) as reader:
        return Openings(reader).opening(commitment) is not None


def left(file: Path) -> str | None:
    with Reader(file) as reader:
        return Openings(reader).unfinished()


def test_what_is_erased_opens_no_more_and_what_is_anothers_does(store: Store, file: Path) -> None:
    [hers], [his] = keep(store, "maria", "m@example.com"), keep(store, "tom", "t@example.com")
    assert opens(file, hers)
    erased, due = forget(store, "maria")
    assert ([each.openings for each in erased], due) == ([1], None)
    assert not opens(file, hers)
    assert opens(file, his)


def test_the_ledger_says_who_has_erased_how_much_and_why_and_verifies(
    store: Store, file: Path
) -> None:
    keep(store, "maria", "a@example.com", "b@example.com")
    forget(store, "maria")
    with Reader(file) as reader:
        entry = [read(body) for _, body, _ in reader.rows()][-1]
    assert entry.kind == "erasure"
    said = {key: entry.fields[key] for key in ("subject", "openings", "by", "reason")}
    subject = store.subject(None, "maria").hex()
    assert said == {"subject": subject, "openings": 2, "by": "dana", "reason": "asked to"}
    assert audit(file).problem is None


def test_several_are_erased_at_once_and_who_is_unknown_leaves_no_entry(
    store: Store, file: Path
) -> None:
    keep(store, "maria", "m@example.com")
    keep(store, "tom", "t@example.com")
    erased, _ = forget(store, "maria", "nobody", "tom", "maria")
    assert [each.openings for each in erased] == [1, 1]
    assert kinds(file).count("erasure") == 2


def test_nobody_erases_with_a_secret_that_is_not_theirs(store: Store, file: Path) -> None:
    [hers] = keep(store, "maria", "m@example.com")
    with pytest.raises(WrongSecretError):
        forget(store, "maria", secret=b"guessed")
    assert opens(file, hers)
    assert "erasure" not in kinds(file)


def test_what_comes_after_an_erasure_has_a_key_of_its_own(store: Store, file: Path) -> None:
    [before] = keep(store, "maria", "m@example.com")
    forget(store, "maria")
    [after] = keep(store, "maria", "m@example.com")
    assert (opens(file, before), opens(file, after)) == (False, True)


def test_nothing_of_it_is_in_any_file(store: Store, file: Path) -> None:
    values = [f"{number}-maria@example.com" for number in range(200)]
    keep(store, "maria", *values)
    assert holding(file.parent, *values) == []
    with Reader(file) as reader:
        ciphertexts = [row[0] for row in reader.every("SELECT sealed FROM opening")]
        wrapped = [row[0] for row in reader.every("SELECT key FROM subject")]
    keep(store, "tom", "t@example.com")

    assert holding(file.parent, ciphertexts[7])
    assert holding(file.parent, wrapped[0])
    forget(store, "maria")
    # Not even what was encrypted is left: free pages are zeros, and the log was cut.
    assert holding(file.parent, *ciphertexts, *wrapped, *values) == []


def test_nothing_of_a_large_value_is_in_any_page_either(store: Store, file: Path) -> None:
    keep(store, "maria", "x" * 300_000)
    keep(store, "tom", "t@example.com")
    with Reader(file) as reader:
        [sealed] = reader.every("SELECT sealed FROM opening WHERE length(sealed) > 100000")
    parts = [sealed[0][at : at + 64] for at in range(0, len(sealed[0]) - 64, 20_000)]
    # One of them may lie across two pages.
    assert len(holding(file.parent, *parts)) > len(parts) // 2
    forget(store, "maria")
    assert holding(file.parent, *parts) == []


def unwrapped(data: bytes, keys: list[AESGCM], subject: bytes) -> bytes | None:
    """What some keys make of any bytes of a file, taken for a wrapped key of that subject."""
    for key in keys:
        for at in range(len(data) - 59):
            if not any(data[at : at + 12]):
                continue
            try:
                return key.decrypt(data[at : at + 12], data[at + 12 : at + 60], subject)
            except InvalidTag:
                continue
    return None


def key_files(folder: Path) -> list[AESGCM]:
    found = [vault.read(each) for each in (folder / "keys").iterdir()]
    return [AESGCM(key) for key in found if key is not None]


def test_no_copy_of_the_database_opens_with_the_keys_that_are_left(
    store: Store, file: Path, tmp_path: Path
) -> None:
    keep(store, "maria", "m@example.com")
    shutil.copytree(file.parent, tmp_path / "backup")
    subject = store.subject(None, "maria")
    old = b"".join(
        (tmp_path / "backup" / name).read_bytes() for name in (file.name, f"{file.name}-wal")
    )
    old = old.rstrip(b"\0") + bytes(16)
    # The search finds it where there is something to find.
    assert unwrapped(old, key_files(tmp_path / "backup"), subject) is not None
    forget(store, "maria")
    assert unwrapped(old, key_files(file.parent), subject) is None


def test_a_process_that_remembers_the_old_key_goes_on_with_the_new_one(
    open_store: Callable[..., Store], file: Path
) -> None:
    one, other = open_store(), open_store()
    keep(other, "maria", "m@example.com")
    keep(other, "tom", "t@example.com")
    forget(one, "maria")
    found = [*keep(other, "tom", "t2@example.com"), *keep(other, "eva", "e@example.com")]
    found += keep(other, "maria", "m2@example.com")
    assert [opens(file, each) for each in found] == [True, True, True]
    forget(other, "tom")
    assert opens(file, keep(one, "eva", "e2@example.com")[0])


def test_an_item_that_is_undone_leaves_no_key_behind(store: Store, file: Path) -> None:
    """A key that was made for work that failed is not used for work that goes on."""

    class Failing:
        def apply(self, tx):
            Seal(store.subject(None, "maria"), sealing.values).write(tx)
            raise ValueError

    sealing = Sealing()
    sealing.whole("args.email", b'"m@example.com"')
    with pytest.raises(ValueError):
        store.commit(Failing())
    [hers] = keep(store, "maria", "m@example.com")
    assert opens(file, hers)


def test_a_reader_that_is_in_the_way_is_waited_for_and_then_the_rest_is_left(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    [hers] = keep(store, "maria", "m@example.com")
    with Reader(file) as reader:
        reader._connection.execute("BEGIN")
        reader.every("SELECT * FROM opening")
        assert forget(store, "maria", patience=0)[1] == "log"
        # Others are not kept from writing meanwhile.
        keep(store, "tom", "t@example.com")
        reader._connection.execute("ROLLBACK")
    assert (opens(file, hers), left(file)) == (False, "log")
    open_store()
    assert left(file) is None


def test_a_key_that_is_lost_is_said_and_no_other_is_made(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    [hers] = keep(store, "maria", "m@example.com")
    away = file.with_name("away")
    store.vault.file.rename(away)
    store.vault._wrapping = None
    with pytest.raises(StoreError, match=r"subjects\.key .* is missing or is another one"):
        forget(store, "maria")
    assert not opens(file, hers)
    assert left(file) == "key"
    away.rename(store.vault.file)
    open_store()
    assert left(file) is None


def test_where_the_key_is_lost_everybody_can_be_given_up(
    open_store: Callable[..., Store], file: Path
) -> None:
    store = open_store()
    [hers] = keep(store, "maria", "m@example.com")
    old = store.vault.file.read_bytes()
    store.vault.file.write_bytes(b"x" * len(old))
    store.vault._wrapping = None
    store.vault._keys.clear()
    with pytest.raises(StoreError, match="--everybody"):
        keep(store, "maria", "m@example.com")
    store.commit(Enrol("dana", SECRET))
    erased, due = erase(store, None, by="dana", credential=SECRET, reason="lost")
    assert ([each.openings for each in erased], due) == ([1], None)
    [anew] = keep(store, "maria", "m@example.com")
    assert (opens(file, hers), opens(file, anew)) == (False, True)
    assert store.vault.file.read_bytes() != old


def test_a_renewal_that_fails_leaves_all_as_it_was(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [his] = keep(store, "tom", "t@example.com")
    keep(store, "maria", "m@example.com")

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(vault, "rewrapped", full)
        with pytest.raises(StoreError, match="is full"):
            forget(store, "maria")
    assert opens(file, his)
    assert store.vault.next.exists()
    assert erasing.finish(store) is None
    assert opens(file, his)
    assert not store.vault.next.exists()


DYING = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from store.test_store_erasing import *
store = Store(f"sqlite:///{sys.argv[1]}", durability="process")
def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def after(what):
    def then(*args, **more):
        what(*args, **more)
        die()
    return then
step = sys.argv[3]
"""

STEPS = {
    "deleted": "erasing.finish = die",
    "next key written": "vault.put = after(vault.put)",
    "half wrapped": "vault.rewrapped = die",
    "wrapped": "erasing._replace = lambda *_: die() if vault.read(store.vault.next) else None",
    "old key wiped": "vault.wipe = after(vault.wipe)",
    "replaced": "erasing.files.sync = lambda _: die() if not store.vault.next.exists() else None",
    "log not cut": "erasing._cut = die",
}


@pytest.fixture(params=STEPS)
def killed(request: pytest.FixtureRequest, file: Path) -> Iterator[tuple[bytes, bytes]]:
    """A process died at one step of an erasure; the commitments of who was erased and who not."""
    store = Store(f"sqlite:///{file}", durability="process")
    [hers], [his] = keep(store, "maria", "m@example.com"), keep(store, "tom", "t@example.com")
    store.close()
    script = f'{DYING}\n{STEPS[request.param]}\nforget(store, "maria")\n'
    command = [sys.executable, "-c", script, str(file), TESTS, request.param]
    done = subprocess.run(command, timeout=60, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    return hers, his


def test_whoever_dies_in_between_leaves_what_the_next_one_finishes(
    killed: tuple[bytes, bytes], open_store: Callable[..., Store], file: Path
) -> None:
    hers, his = killed
    assert (opens(file, hers), opens(file, his)) == (False, True)
    assert left(file) is not None
    store = open_store()
    assert left(file) is None
    assert (opens(file, hers), opens(file, his)) == (False, True)
    assert [each.name for each in (file.parent / "keys").iterdir() if "next" in each.name] == []
    assert opens(file, keep(store, "maria", "again@example.com")[0])
    assert kinds(file).count("erasure") == 1
    assert audit(file).problem is None


def test_whoever_dies_in_between_leaves_what_the_next_erasure_finishes(
    killed: tuple[bytes, bytes],
    open_store: Callable[..., Store],
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, his = killed
    monkeypatch.setattr(erasing, "resume", lambda _: None)
    store = open_store()
    assert forget(store, "tom")[1] is None
    assert (opens(file, his), left(file)) == (False, None)
    assert opens(file, keep(store, "eva", "e@example.com")[0])


CROWD = """
import sys
sys.path.insert(0, sys.argv[2])
from store.test_store_erasing import *
store = Store(f"sqlite:///{sys.argv[1]}", durability="process")
for number in range(60):
    print(keep(store, f"{sys.argv[3]}-{number % 7}", "x@example.com")[0].hex(), flush=True)
"""


def test_processes_that_seal_while_keys_are_renewed_lose_nothing(store: Store, file: Path) -> None:
    keep(store, "maria", "m@example.com")
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(file), TESTS, name], stdout=subprocess.PIPE, text=True
        )
        for name in ("a", "b")
    ]
    for _ in range(20):
        keep(store, "maria", "m@example.com")
        forget(store, "maria", patience=0)
    for process in crowd:
        sealed = process.communicate(timeout=120)[0].split()
        assert len(sealed) == 60
        assert all(opens(file, bytes.fromhex(each)) for each in sealed)
    assert kinds(file).count("erasure") == 20


def test_a_row_that_was_put_in_the_place_of_another_opens_nothing(store: Store, file: Path) -> None:
    [one], [other] = keep(store, "maria", "m@example.com"), keep(store, "tom", "t@example.com")
    with store.alone() as connection:
        connection.execute(
            "UPDATE opening SET (sealed, subject) ="
            " (SELECT sealed, subject FROM opening WHERE hash = ?) WHERE hash = ?",
            (other, one),
        )
    assert not opens(file, one)


@pytest.mark.parametrize("damage", ["text", 5, None, b"", bytes(60)])
def test_a_row_of_any_type_opens_nothing(store: Store, file: Path, damage: object) -> None:
    [one] = keep(store, "maria", "m@example.com")
    with store.alone() as connection:
        if damage is not None:
            connection.execute("UPDATE opening SET sealed = ?", (damage,))
            connection.execute("UPDATE subject SET key = ?", (damage,))
        connection.execute("UPDATE meta SET value = 'x' WHERE name = 'subject_key'")
    assert not opens(file, one)

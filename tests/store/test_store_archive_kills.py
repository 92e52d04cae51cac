"""An archiving that is killed at any step has lost nothing, and the next one finishes it."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from saferun.ledger import OutcomeEntry, Verifier, blob_hash, encode, placeholder
from saferun.store import Blob, Enrol, Reader, Store
from saferun.store.archive import Archive, check
from saferun.store.archiving import Archiving
from storing import Clock, admit, settle

DAY = 86_400_000_000
SECRET = b"s" * 16
TESTS = str(Path(__file__).parent.parent)

ARCHIVE = """
import os, signal, sys
from pathlib import Path

from saferun.store import Store, archiving
from saferun.store.work.shelve import Clear, Shelve

file, folder, now, step = sys.argv[1:]
now = int(now)
archiving.BATCH = 4


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def before(owner, name, when=lambda *_: True):
    found = getattr(owner, name)

    def instead(*given, **named):
        if when(*given):
            die()
        return found(*given, **named)

    setattr(owner, name, instead)


def after(owner, name, when=lambda *_: True):
    found = getattr(owner, name)

    def instead(*given, **named):
        came = found(*given, **named)
        if when(*given):
            die()
        return came

    setattr(owner, name, instead)


match step:
    case "began":
        before(archiving, "_new")
    case "writing":
        before(archiving, "_new", lambda path: path.name == "manifest.json")
    case "written":
        before(Path, "rename", lambda path, _: path.name.endswith(".part"))
    case "renamed":
        after(Path, "rename", lambda path, _: path.name.endswith(".part"))
    case "verified":
        before(Store, "commit", lambda _, work: isinstance(work, Shelve))
    case "recording":
        after(Shelve, "apply")
    case "recorded":
        after(Store, "commit", lambda _, work: isinstance(work, Shelve))
    case "emptying":
        after(Clear, "apply")
    case "emptied":
        after(Store, "commit", lambda _, work: isinstance(work, Clear))
store = Store(f"sqlite:///{file}", durability="process", clock=lambda: now)
archiving.Archiving(store, Path(folder), store.signer(), "dana", b"s" * 16).run(now, "all")
"""

STEPS = (
    *("began", "writing", "written", "renamed", "verified", "recording", "recorded"),
    *("emptying", "emptied"),
)


@pytest.fixture
def store(open_store: Callable[..., Store], clock: Clock) -> Store:
    store = open_store(clock=clock)
    store.commit(Enrol("dana", SECRET))
    for number in range(12):
        seq = store.commit(admit(store, entry={"args": {"n": number}})).seq
        salt, data = bytes(16), msgspec.json.encode(str(number) * 40_000)
        blob = Blob(blob_hash(salt, data), salt, data)
        outcome = OutcomeEntry(
            of=seq,
            status="ok",
            result=placeholder(blob.hash, len(data)),
            blobs={blob.hash.hex(): len(data)},
        )
        end = settle(store, seq, blobs=(blob,))
        store.commit(msgspec.structs.replace(end, rest=encode(outcome)))
    clock.now += 30 * DAY
    return store


def killed(store: Store, folder: Path, now: int, step: str) -> None:
    died = subprocess.run(
        [sys.executable, "-c", ARCHIVE, str(store.path), str(folder), str(now), step],
        cwd=TESTS,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert died.returncode == -9, died.stderr.decode()


def whole(store: Store, folder: Path) -> list[bytes]:
    """All bodies, from the store and from the archive as far as there is one."""
    if not folder.exists():
        with Reader(store.path) as reader:
            return [body for _, body, _ in reader.rows()]
    with Archive(folder) as archive, Reader(store.path, archive) as reader:
        assert archive.trouble is None
        return [body for _, body, _ in reader.rows()]


def archive(store: Store, folder: Path, now: int) -> None:
    Archiving(store, folder, store.signer(), "dana", SECRET).run(now, "all")


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_the_next_run_finishes(
    store: Store, tmp_path: Path, clock: Clock, step: str
) -> None:
    folder = tmp_path / "archive"
    before = whole(store, folder)
    killed(store, folder, clock.now, step)
    assert whole(store, folder)[: len(before)] == before
    assert store.commit(admit(store)).starts
    archive(store, folder, clock.now)
    [segment] = folder.iterdir()
    assert segment.name == f"0-{len(before)}"
    assert whole(store, folder)[: len(before)] == before
    with Reader(store.path) as reader:
        left = [body for _, body, _ in reader.rows(len(before))]
        # Entry 0 alone keeps its body.
        assert left[1:] == [b""] * (len(before) - 1)
        assert reader.archived() == len(before)
        assert len(reader.archives()) == 1
    with Archive(folder) as opened:
        found = check(opened, [Verifier(store.signer().vkey())])
    assert (found.exit_code, found.blobs) == (0, 12)


@pytest.mark.parametrize("step", ["writing", "recording", "emptying"])
def test_after_a_second_kill_too(store: Store, tmp_path: Path, clock: Clock, step: str) -> None:
    folder = tmp_path / "archive"
    before = whole(store, folder)
    killed(store, folder, clock.now, "renamed" if step != "writing" else "began")
    killed(store, folder, clock.now, step)
    archive(store, folder, clock.now)
    assert whole(store, folder)[: len(before)] == before


def test_calls_go_on_while_entries_are_archived(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("saferun.store.archiving.BATCH", 1)
    over = threading.Event()
    made: list[int] = []

    def agent() -> None:
        while not over.is_set():
            seq = store.commit(admit(store)).seq
            store.commit(settle(store, seq))
            made.append(seq)

    thread = threading.Thread(target=agent)
    thread.start()
    try:
        archive(store, tmp_path / "archive", clock.now)
    finally:
        over.set()
        thread.join()
    assert made
    with Archive(tmp_path / "archive") as opened, Reader(store.path, opened) as reader:
        from saferun.ledger import verify

        report = verify(reader.rows(), reader.head(), blobs=reader.blob)
    assert (report.problem, report.dangling) == (None, 0)


def test_two_cannot_archive_one_store_at_once(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    from saferun.errors import StoreError

    refused: list[str] = []
    found = Archiving._empty

    def meanwhile(self: Archiving, *given: object) -> int:
        with pytest.raises(StoreError, match="Somebody else is archiving") as raised:
            archive(store, tmp_path / "archive", clock.now)
        refused.append(str(raised.value))
        return found(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Archiving, "_empty", meanwhile)
    archive(store, tmp_path / "archive", clock.now)
    assert refused


def test_a_full_disk_takes_nothing_out_of_the_store(
    store: Store, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    from saferun.errors import StoreError

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "archive")

    before = whole(store, tmp_path / "none")
    with monkeypatch.context() as patched:
        patched.setattr("saferun.store.archiving.os.fsync", full)
        with pytest.raises(StoreError, match="No space left on device"):
            archive(store, tmp_path / "archive", clock.now)
    assert whole(store, tmp_path / "none") == before
    assert list((tmp_path / "archive").iterdir()) == []

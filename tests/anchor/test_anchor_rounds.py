"""A round: all places at once, each failing alone, and only one process at it."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from anchor.witnessing import listening
from saferun.anchor import AnchorError, BusyError, Offered, Patience, RefusedError, go_round
from saferun.anchor.folder import FolderPlace
from saferun.anchor.witness import WitnessPlace
from saferun.errors import StoreError
from saferun.ledger import Witness, cosignatures
from saferun.store import Anchored, Reader, Store, keep_anchored
from saferun.store.anchors import anchored
from storing import admit


@pytest.fixture
def store(tmp_path: Path):
    made = Store(f"sqlite:///{tmp_path}/store/saferun.db", durability="process")
    made.commit(admit(made))
    yield made
    made.close()


class Told:
    """A place that does as a test says."""

    kind = "command"

    def __init__(self, name: str, does, seconds: float = 30.0) -> None:
        self.name, self.does, self.seconds = name, does, seconds
        self.last: int | None = None

    def take(self, offered: Offered, last: int, patience: Patience) -> bytes:
        self.last = last
        return self.does(offered, patience)


def well(offered: Offered, patience: Patience) -> bytes:
    return offered.note


def failing(problem: Exception):
    def does(offered: Offered, patience: Patience) -> bytes:
        raise problem

    return does


def anchors(store: Store):
    with Reader(store.path) as reader:
        return {kept.name: kept for kept in anchored(reader)}


def test_what_a_place_has_given_back_is_remembered_with_its_size_and_time(store) -> None:
    with listening() as server:
        server.logs[store.origin] = store.signer().vkey()
        found = go_round(store.path, [WitnessPlace("w1", server.url, server.vkey)])
    kept = anchors(store)["w1"]
    assert (found.size, kept.size, kept.failed) == (2, 2, None)
    [said] = cosignatures(kept.note, [Witness(server.vkey)])
    assert said.checkpoint.size == 2
    assert kept.time == kept.tried > 0


def test_a_place_is_told_what_it_took_before(store) -> None:
    place = Told("a", well)
    go_round(store.path, [place])
    store.commit(admit(store))
    go_round(store.path, [place])
    assert place.last == 2
    assert anchors(store)["a"].size == 3


def test_a_failure_keeps_what_was_there_and_says_why(store) -> None:
    go_round(store.path, [Told("a", well)])
    before = anchors(store)["a"]
    store.commit(admit(store))
    found = go_round(store.path, [Told("a", failing(AnchorError("It is down.")))])
    kept = anchors(store)["a"]
    assert (kept.size, kept.time, kept.note) == (2, before.time, before.note)
    assert (kept.failed, kept.against, found.against) == ("It is down.", False, False)


def test_what_speaks_against_the_ledger_is_remembered_as_that(store) -> None:
    found = go_round(store.path, [Told("a", failing(RefusedError("It has seen more.")))])
    assert found.against
    assert anchors(store)["a"].against


def test_a_failure_that_is_over_is_forgotten(store) -> None:
    go_round(store.path, [Told("a", failing(RefusedError("It has seen more.")))])
    go_round(store.path, [Told("a", well)])
    kept = anchors(store)["a"]
    assert (kept.failed, kept.against) == (None, False)


def test_one_place_that_fails_in_whatever_way_is_no_other_places_matter(store) -> None:
    places = [
        Told("a", failing(ZeroDivisionError("oh"))),
        Told("b", well),
        Told("c", failing(StoreError("The disk is full."))),
    ]
    found = go_round(store.path, places)
    assert [(place.name, kept.failed) for place, kept in found.places] == [
        ("a", "It has failed: ZeroDivisionError('oh')"),
        ("b", None),
        ("c", "The disk is full."),
    ]


def test_places_are_gone_to_at_the_same_time(store) -> None:
    together = threading.Barrier(3, timeout=30)

    def meets(offered: Offered, patience: Patience) -> bytes:
        together.wait()
        return offered.note

    found = go_round(store.path, [Told(name, meets) for name in "abc"])
    assert found.done(None)


def test_a_place_that_never_comes_back_is_not_waited_for_longer_than_it_may(store) -> None:
    over = threading.Event()

    def hangs(offered: Offered, patience: Patience) -> bytes:
        over.wait()
        return offered.note

    found = go_round(store.path, [Told("a", hangs, seconds=0.2), Told("b", well)])
    over.set()
    assert [kept.failed for _, kept in found.places] == ["It was not done in time.", None]


def test_who_is_leaving_has_a_few_seconds_and_no_more(store) -> None:
    over, leaving, cut = threading.Event(), threading.Event(), threading.Event()

    class Cut(Told):
        def take(self, offered: Offered, last: int, patience: Patience) -> bytes:
            leaving.set()
            while patience.left() > 5 and not over.wait(0.01):
                pass
            cut.set()
            return offered.note

    found = go_round(store.path, [Cut("a", well, seconds=600.0)], leaving=leaving)
    over.set()
    assert cut.is_set()
    assert found.done(None)


def test_no_call_waits_for_a_place(store) -> None:
    asked, over = threading.Event(), threading.Event()

    def hangs(offered: Offered, patience: Patience) -> bytes:
        asked.set()
        over.wait()
        return offered.note

    going = threading.Thread(target=go_round, args=(store.path, [Told("a", hangs)]))
    going.start()
    assert asked.wait(30)
    # Neither the store's lock nor a transaction is held meanwhile, or this would never return.
    store.commit(admit(store))
    over.set()
    going.join(30)
    assert anchors(store)["a"].size == 2


def test_only_one_process_is_at_it(store) -> None:
    asked, over = threading.Event(), threading.Event()

    def hangs(offered: Offered, patience: Patience) -> bytes:
        asked.set()
        over.wait()
        return offered.note

    going = threading.Thread(target=go_round, args=(store.path, [Told("a", hangs)]))
    going.start()
    assert asked.wait(30)
    with pytest.raises(BusyError, match="Another process is anchoring"):
        go_round(store.path, [Told("a", well)])
    over.set()
    going.join(30)
    assert go_round(store.path, [Told("a", well)]).done(None)


_KILLED = """
import os, signal, sys
from pathlib import Path
from saferun.anchor import go_round

class Deadly:
    name, kind, seconds = "a", "command", 30.0
    def take(self, offered, last, patience):
        os.kill(os.getpid(), signal.SIGKILL)

go_round(Path(sys.argv[1]), [Deadly()])
"""


def test_a_process_that_is_killed_while_a_place_is_asked_leaves_nothing_in_the_way(store) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(store.path)], env=os.environ, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    assert anchors(store) == {}
    assert go_round(store.path, [Told("a", well)]).done(None)


_KILLED_AFTER = """
import os, signal, sys
from pathlib import Path
from saferun.anchor import go_round
from saferun.anchor.witness import WitnessPlace

class Deadly(WitnessPlace):
    def take(self, offered, last, patience):
        super().take(offered, last, patience)
        os.kill(os.getpid(), signal.SIGKILL)

go_round(Path(sys.argv[1]), [Deadly("w1", sys.argv[2], sys.argv[3])])
"""


def test_a_process_that_is_killed_before_it_remembers_an_answer_asks_again(store) -> None:
    with listening() as server:
        server.logs[store.origin] = store.signer().vkey()
        command = [sys.executable, "-c", _KILLED_AFTER, str(store.path), server.url, server.vkey]
        done = subprocess.run(command, timeout=60)
        assert done.returncode == -signal.SIGKILL
        assert (server.seen[store.origin][0], anchors(store)) == (2, {})
        store.commit(admit(store))
        go_round(store.path, [WitnessPlace("w1", server.url, server.vkey)])
    assert anchors(store)["w1"].size == 3


def test_a_memory_of_another_ledger_is_no_memory_of_this_one(store) -> None:
    other = Anchored("a", 900, 1, b"another/ledger\n900\n", 1, None, against=False)
    keep_anchored(store.path, [other])
    place = Told("a", well)
    go_round(store.path, [place])
    assert place.last == 0


@pytest.mark.parametrize(
    "change", ["note = 'text'", "size = 'many'", "size = -5", "size = 900", "tried = x'00'"]
)
def test_a_memory_that_was_changed_keeps_nobody_from_going(store, change) -> None:
    with listening() as server:
        server.logs[store.origin] = store.signer().vkey()
        places = [WitnessPlace("w1", server.url, server.vkey)]
        go_round(store.path, places)
        with sqlite3.connect(store.path) as forger:
            forger.execute(f"UPDATE anchor SET {change}")
        forger.close()
        store.commit(admit(store))
        assert go_round(store.path, places).done(None)
    assert anchors(store)["w1"].size == 3


def test_places_that_have_all_taken_it_are_enough_whatever_the_quorum(store, tmp_path) -> None:
    (tmp_path / "share").mkdir()
    assert go_round(store.path, [FolderPlace("share", tmp_path / "share")]).done(2)


def test_a_ledger_that_contradicts_its_own_checkpoint_is_taken_nowhere(store) -> None:
    store.commit(admit(store))
    go_round(store.path, [Told("a", well)])
    forger = sqlite3.connect(store.path)
    with forger:
        forger.execute("DELETE FROM checkpoint")
        forger.execute("UPDATE entry SET leaf = zeroblob(32) WHERE seq = 1")
        forger.execute("UPDATE head SET frontier = substr(frontier, 1, 8) || zeroblob(64)")
    forger.close()
    place = Told("a", well)
    with pytest.raises(StoreError):
        go_round(store.path, [place])
    assert place.last is None


@pytest.mark.parametrize(("good", "quorum", "done"), [(2, 2, True), (1, 2, False), (1, 1, True)])
def test_a_quorum_of_witnesses_is_enough(store, tmp_path, good, quorum, done) -> None:
    def place(name: str, does) -> Told:
        found = Told(name, does)
        found.kind = "witness"
        return found

    down = failing(AnchorError("It is down."))
    witnesses = [place(f"w{number}", well if number < good else down) for number in range(3)]
    found = go_round(store.path, [*witnesses, FolderPlace("share", tmp_path / "gone")])
    assert (found.done(quorum), found.done(None)) == (done, False)

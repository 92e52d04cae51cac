"""Whatever comes between, no two checkpoints that anybody saw are of different ledgers.

Entries, checkpoints, kills, rotations, restarts and old copies that are put back, in any order.
Every note that could have been seen is kept: what was returned, what lies in the store, and the
high-water mark. Whenever the store is open, each of those in its name has to be of its tree.
"""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from saferun.errors import StoreError
from saferun.ledger import Checkpoint, Frontier
from saferun.store import Append, Enrol, Reader, Store, checkpoint, signing
from saferun.store.checkpoints import kept_checkpoints
from saferun.store.succession import restart, rotate
from store.dying import dies_at

SECRET = b"dana's"


class Ledgers(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="saferun-"))
        self.file = self.folder / "store" / "saferun.db"
        self.copies: list[Path] = []
        self.seen: set[tuple[str, int, bytes]] = set()
        self.written = 0
        self.store: Store
        self.open()
        self.store.commit(Enrol("dana", SECRET))

    def open(self) -> None:
        """Open it, and if it has lost its end, go on with that recorded."""
        url = f"sqlite:///{self.file}"
        try:
            self.store = Store(url, durability="process")
        except StoreError:
            behind = Store(url, behind=True)
            restart(behind, "dana", SECRET, "lost")
            behind.close()
            self.store = Store(url, durability="process")

    def end(self) -> None:
        self.store.close()
        self.look()

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def look(self) -> None:
        """Take note of all that can be seen now."""
        with Reader(self.file) as reader:
            notes = kept_checkpoints(reader)
        mark = signing.marked(self.file, "default")
        self.see(*notes, *(() if mark is None else (mark.note,)))

    def see(self, *notes: bytes) -> None:
        for note in notes:
            said = Checkpoint.parse(note[: note.rfind(b"\n\n") + 1].decode())
            self.seen.add((said.origin, said.size, said.root))

    @rule(entries=st.integers(1, 4))
    def append(self, entries: int) -> None:
        bodies = []
        for _ in range(entries):
            # No two are alike, so no two histories are.
            self.written += 1
            bodies.append(b'{"kind":"user","text":"%d"}' % self.written)
        self.store.commit(Append(entries=bodies, boot=self.store.boot))

    @rule()
    def sign(self) -> None:
        self.see(self.store.checkpoint())

    @rule()
    def end_and_begin(self) -> None:
        self.end()
        self.open()

    @rule(step=st.integers(0, 40))
    def sign_and_be_killed(self, step: int) -> None:
        signer = self.store.signer()
        dies_at(step, lambda signer: checkpoint(self.file, signer), lambda: signer)
        self.look()

    @rule()
    def copy(self) -> None:
        self.end()
        self.copies = [*self.copies[-2:], self.folder / f"{self.written}.db"]
        shutil.copy(self.file, self.copies[-1])
        self.open()

    @rule(which=st.integers(0, 2))
    def put_back(self, which: int) -> None:
        if not self.copies:
            return
        self.end()
        shutil.copy(self.copies[which % len(self.copies)], self.file)
        self.open()
        # What was copied before a restart has another name, and there is no way on with it.
        self.copies.clear()

    @rule()
    def rotate(self) -> None:
        rotate(self.store, "dana", SECRET)

    @invariant()
    def every_checkpoint_in_the_name_of_the_ledger_is_of_its_tree(self) -> None:
        self.look()
        tree, roots = Frontier(), {}
        with Reader(self.file) as reader:
            for _, _, leaf in reader.rows():
                tree.append(leaf)
                roots[tree.size] = tree.root()
        for origin, size, root in self.seen:
            if origin == self.store.origin:
                assert roots.get(size) == root


TestLedgers = Ledgers.TestCase
TestLedgers.settings = settings(
    settings.get_profile("landing"), max_examples=15, stateful_step_count=25
)

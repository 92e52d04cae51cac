"""A gate for one test: all of it real, with a store that goes away again."""

import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

import msgspec

from saferun import config
from saferun.approval import Channel, Question
from saferun.config import ApprovalTable, Config
from saferun.gate import Gate
from saferun.policy import Policy
from saferun.store import Store
from saferun.testing.channel import Everybody, Remembering
from saferun.testing.clock import Clock


class ScratchGate(Gate):
    """A gate with a store and a clock of its own; `gate` makes one.

    It is closed by `close`, at the end of a `with` block, or once nobody holds it any more.
    """

    def __init__(
        self,
        policy: str | Path | Policy,
        approvals: Channel | None,
        clock: Clock,
        settings: Config,
    ) -> None:
        self.clock = clock
        self._asked = None if approvals is None else Remembering(approvals)
        folder = TemporaryDirectory(prefix="saferun-")
        url = f"sqlite:///{Path(folder.name, 'saferun.db')}"
        own = msgspec.structs.replace(
            settings,
            store=url,
            durability="process",
            approval=ApprovalTable(),
            groups=Everybody(),
        )
        store = Store(url, ledger=own.ledger, durability="process", clock=clock, checkpoints=False)
        self._end = weakref.finalize(self, _end, store, folder)
        try:
            super().__init__(policy=policy, store=store, approvals=self._asked, settings=own)
        except BaseException:
            self._end()
            raise

    @property
    def questions(self) -> tuple[Question, ...]:
        """What was asked so far, in order."""
        return tuple(self._asked.questions) if self._asked is not None else ()

    def close(self) -> None:
        """Let go of the store and remove it. Idempotent."""
        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def gate(
    policy: str | Path | Policy,
    *,
    approvals: Channel | None = None,
    clock: Clock | None = None,
    settings: Config | None = None,
) -> ScratchGate:
    """A gate for a test, to give to `guard(tool, gate=...)`.

    Args:
        policy: as for `Gate`: a policy's name, the path of its file, or a loaded one.
        approvals: who is asked: `approve_all`, `reject_all`, or a channel of one's own. With
            None, what asks is denied, whatever the configuration says.
        clock: the time that holds for it; by default a new one that stands still.
        settings: the configuration, for where policies lie and for the environment; that of
            the working folder by default. Its store is left alone.

    Raises:
        PolicyError: the policy cannot be found or used.
        ConfigError: the configuration cannot be used.

    """
    return ScratchGate(policy, approvals, clock or Clock(), settings or config.load())


def _end(store: Store, folder: "TemporaryDirectory[str]") -> None:
    store.close()
    folder.cleanup()

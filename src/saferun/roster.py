"""The people of the configuration, as its file has them now.

A process that serves for weeks began with people of whom some have left since. So the file is
looked at whenever it matters who somebody is, and read again where it has changed. What else it
says holds as it was when the process began.
"""

import logging
import threading
from typing import NamedTuple

from saferun import config
from saferun.approval import People
from saferun.config import Config, Roll
from saferun.errors import ConfigError

log = logging.getLogger("saferun")

_NOBODY = Roll(people={}, groups={}, break_glass=())


class Known(NamedTuple):
    """Who is known by now, and who was known and is no more.

    `lost` says that the file cannot be read, so that nobody is known.
    """

    people: People
    gone: frozenset[str]
    lost: bool = False


class Roster:
    """Who the people are. Thread-safe."""

    def __init__(self, settings: Config) -> None:
        self._file = settings.file
        self._stamp = settings.stamp
        self._lock = threading.Lock()
        self._ever = set(settings.people)
        approval = settings.approval
        self._known = self._of(Roll(settings.people, settings.groups, approval.break_glass))

    def now(self) -> Known:
        """Who they are by now. Where the file cannot be read any more, it is nobody."""
        if self._file is None or self._stamp is None:
            return self._known
        with self._lock:
            found = config.stamp(self._file)
            if found != self._stamp:
                self._stamp = found or ()
                self._known = self._read()
            return self._known

    def _read(self) -> Known:
        assert self._file is not None
        try:
            roll = config.roll(self._file)
        except ConfigError as problem:
            log.warning("saferun: nobody is known until this is mended: %s", problem)
            # Who they were is not who they are, but nobody has sent them away either.
            return Known(self._of(_NOBODY).people, gone=self._known.gone, lost=True)
        self._ever.update(roll.people)
        return self._of(roll)

    def _of(self, roll: Roll) -> Known:
        # Where there were people once, nobody at all is not everybody.
        people = People(roll.people, roll.groups, roll.break_glass, closed=bool(self._ever))
        return Known(people, frozenset(self._ever - set(roll.people)))

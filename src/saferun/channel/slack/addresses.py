"""Who somebody in Slack is: the persons of the configuration, by team and user. Pure.

Being in a channel is no authority, and neither is a name or an e-mail address that somebody has
given themselves in Slack. Only who stands in the configuration by both ids is a person here.
"""

import re
from collections.abc import Iterable, Mapping

from saferun.config import Person
from saferun.errors import ConfigError

_ADDRESS = re.compile(r"([TE][A-Z0-9]{1,30})/([UW][A-Z0-9]{1,30})")


class Addresses:
    """Persons and where they are in Slack. Raises ConfigError for what is no address."""

    def __init__(self, persons: Mapping[str, Person]) -> None:
        self._persons: dict[tuple[str, str], str] = {}
        self._users: dict[str, str] = {}
        for name, person in persons.items():
            if person.slack is None:
                continue
            found = _ADDRESS.fullmatch(person.slack)
            if found is None:
                raise ConfigError(
                    f"[people.{name}] slack is {person.slack!r}; write the ids of team and user, "
                    'such as "T024BE7LD/U0123ABCD"'
                )
            where = (found[1], found[2])
            if where in self._persons:
                raise ConfigError(
                    f"[people.{name}] and [people.{self._persons[where]}] have the same slack; "
                    "give each person their own"
                )
            self._persons[where] = name
            self._users[name] = found[2]

    def __bool__(self) -> bool:
        return bool(self._persons)

    def person(self, team: str, user: str) -> str | None:
        """The person who is there, None for anybody else."""
        return self._persons.get((team, user))

    def mentions(self, names: Iterable[str]) -> dict[str, str]:
        """The user ids of those who have one, by name."""
        return {name: self._users[name] for name in names if name in self._users}

"""Who was known where a question was asked: what its answers are held against, wherever they come.

Several gates, each with people of its own, may ask on one store, and what takes the answer may
have been given others. A name there can be somebody whom whoever asks would never let answer.
"""

from collections.abc import Mapping, Sequence

import msgspec

from saferun.call import Demand
from saferun.config import Person


class Known(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The people and groups that a question is about, as its gate was told them.

    `glass` are those who may answer for all others. `digest` tells one whole configuration of
    people from another.
    """

    digest: str
    persons: Mapping[str, Person] = {}
    groups: Mapping[str, tuple[str, ...]] = {}
    glass: tuple[str, ...] = ()

    def covers(self, demands: Sequence[Demand]) -> bool:
        """Whether it is known of all who are demanded whom that meant, where it was asked."""
        names = {*self.persons, *self.groups}
        return all(
            demand.of and names.issuperset((*demand.of, *demand.further)) for demand in demands
        )

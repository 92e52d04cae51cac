"""Values that may label a figure: of each kind a few, however many there are.

Names of tools and models come from applications, and some from models; each new one is a new
series in somebody's database, for good.
"""

MOST = 200
"""Different values of one label."""

LENGTH = 120
"""Characters of one value."""

OTHER = "(other)"
"""What stands for all that came later."""


class Few:
    """The first values of a label, in the order in which they came."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: set[str] = set()

    def __call__(self, value: str | None) -> str:
        """The value, or what stands for it; an empty one where there is none."""
        if value is None:
            return ""
        value = value[:LENGTH]
        if value not in self._known:
            if len(self._known) >= self._most:
                return OTHER
            self._known.add(value)
        return value

"""One mapping of a policy file, whose values are taken out by the type they should have.

Nothing is ignored. A key that this version does not know is a fault, whether it is a
typo or belongs to a later version: a condition that silently does not count is a door
left open.
"""

from typing import Any, TypeVar

from saferun.policy import form
from saferun.policy.schema import meant
from saferun.policy.source import Path, Source
from saferun.policy.wording import found, named

_Option = TypeVar("_Option", bound=str)
_Kind = TypeVar("_Kind", list[Any], dict[str, Any])


class Part:
    """A mapping that may have these keys and no others.

    What is missing or of another type yields its default; the latter is a fault.
    """

    def __init__(self, source: Source, path: Path, value: Any, keys: tuple[str, ...]) -> None:
        self.source = source
        self.path = path
        self._values: dict[str, Any] = value if isinstance(value, dict) else {}
        known = ", ".join(keys)
        if not isinstance(value, dict):
            self.fault((), "type", f"expected a mapping with some of {known}; {found(value)}")
        for key in self._values:
            if key in keys:
                continue
            unknown = f"{named(key)} is not a key here, but one of {known} is"
            self.fault((key,), "unknown-key", unknown + meant(key, keys))

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __getitem__(self, key: str) -> Any:
        """The value as it stands in the file, None where there is none."""
        return self._values.get(key)

    @property
    def line(self) -> int | None:
        return self.source.line(self.path)

    def fault(self, steps: Path, code: str, message: str) -> None:
        self.source.fault((*self.path, *steps), code, message)

    def choice(self, key: str, options: tuple[_Option, ...], default: _Option) -> _Option:
        said = self._values.get(key, default)
        for option in options:
            if said == option:
                return option
        hint = meant(said, options) if isinstance(said, str) else ""
        self.fault((key,), "value", f"expected one of {', '.join(options)}; {found(said)}{hint}")
        return default

    def flag(self, key: str, *, default: bool) -> bool:
        said = self._values.get(key, default)
        if isinstance(said, bool):
            return said
        self.fault((key,), "type", f"expected `true` or `false`; {found(said)}")
        return default

    def sentence(self, key: str) -> str | None:
        said = self._values.get(key)
        if isinstance(said, str) and said.strip():
            return " ".join(said.split())
        if key in self:
            self.fault((key,), "type", f"expected a sentence; {found(said)}")
        return None

    def duration(self, key: str) -> int | None:
        """A stretch of time in microseconds, such as `30s`; ten years are the longest."""
        if key not in self:
            return None
        try:
            length = form.parse_duration(self._values[key])
        except ValueError as problem:
            self.fault((key,), "value", str(problem))
            return None
        if length > form.LONGEST:
            what = f"expected ten years at most, as `3650d`; {found(self._values[key])}"
            self.fault((key,), "value", what)
        return length

    def mapping(self, key: str) -> dict[str, Any]:
        return self._held(key, dict, "a mapping")

    def list(self, key: str) -> list[Any]:
        return self._held(key, list, "a list")

    def _held(self, key: str, kind: type[_Kind], what: str) -> _Kind:
        said = self._values.get(key, kind())
        if isinstance(said, kind):
            return said
        self.fault((key,), "type", f"expected {what}; {found(said)}")
        return kind()

"""A policy and what it includes, put together: one file that says it all.

    include: [common.yaml]                      # definitions, inputs, limits, tools, scopes
    tools:
      send_email:
        args: {to: {type: string, among: {file: leads.txt}}}

What comes out has everything in place. Its hash is therefore the version of all that the
policy rests on, and it can be kept and read again where none of the files is.
"""

import posixpath
from collections.abc import Callable
from pathlib import Path as FilePath
from pathlib import PurePath
from typing import Any, TypeAlias

from saferun.files import beginning
from saferun.policy.source import MAX_BYTES, Path, Source, read
from saferun.policy.wording import found, named

Beside: TypeAlias = Callable[[str], bytes]
"""Reads a file in the policy's folder, by its name from there.

Raises OSError where it cannot be read and ValueError, with a sentence, where it may not be.
"""

MAX_FILES = 50
MAX_DEPTH = 8
MAX_ENTRIES = 50_000
"""Lines of a list in a file."""

_MAPPINGS = ("definitions", "inputs", "tools")
_LISTS = ("limits", "scopes")
_INCLUDABLE = (*_MAPPINGS, *_LISTS)


def reader(folder: FilePath) -> Beside:
    """Reads the files of a folder and those below it, and nothing outside."""

    def contents(name: str) -> bytes:
        base = folder.resolve()
        path = (base / name).resolve()
        if not path.is_relative_to(base):
            raise ValueError(f"{named(name)} lies outside the policy's folder; keep it inside")
        return beginning(path, MAX_BYTES + 1)

    return contents


def gather(text: str | bytes, file: str | None, beside: Beside | None) -> Source:
    """What a policy says, with its includes and lists in place of their names.

    What is wrong with any of the files stands in `Source.faults`. `beside` is None where the
    text has no folder; naming a file is a fault then.
    """
    source = read(text, file)
    if isinstance(source.value, dict):
        _Gathering(source, beside).gather()
    return source


class _Gathering:
    """The files of one policy, each of which is read once."""

    def __init__(self, source: Source, beside: Beside | None) -> None:
        self._source = source
        self._beside = beside
        self._included: set[str] = set()

    def gather(self) -> None:
        self._lists(self._source, self._source.value, ())
        self._includes(self._source, 1)

    def _includes(self, source: Source, depth: int) -> None:
        """Take in, after what `source` says itself, all that it includes."""
        said = source.value.pop("include", [])
        if not isinstance(said, list):
            source.fault(("include",), "type", f"expected a list of files; {found(said)}")
            return
        for at, name in enumerate(said):
            path: Path = ("include", at)
            if not isinstance(name, str):
                source.fault(path, "type", f"expected the name of a file; {found(name)}")
            elif (name := posixpath.normpath(name)) in self._included:
                # Two files may rest on the same third one; it says everything once.
                continue
            elif depth > MAX_DEPTH or len(self._included) == MAX_FILES:
                most = f"a policy includes at most {MAX_FILES} files, {MAX_DEPTH} deep"
                source.fault(path, "value", most)
            else:
                self._included.add(name)
                self._include(source, path, name, depth)

    def _include(self, source: Source, path: Path, name: str, depth: int) -> None:
        data = self._contents(source, path, name)
        if data is None:
            return
        # Named as the policy itself is, from wherever that was named.
        shown = (
            name if self._source.file is None else str(PurePath(self._source.file).parent / name)
        )
        other = read(data, shown)
        if not isinstance(other.value, dict):
            if not other.faults:
                other.fault((), "type", f"an included file is a mapping; {found(other.value)}")
        else:
            self._lists(other, other.value, ())
            self._includes(other, depth + 1)
            for key in list(other.value):
                self._merge(other, key)
        self._source.blame(other)

    def _merge(self, other: Source, key: str) -> None:
        said = other.value[key]
        mine = self._source.value
        if key not in _INCLUDABLE:
            only = f"an included file says {', '.join(_INCLUDABLE)} or `include`, and nothing else"
            other.fault((key,), "unknown-key", f"{only}; {named(key)} stands in the policy itself")
        elif not isinstance(said, dict if key in _MAPPINGS else list):
            other.fault((key,), "type", f"`{key}` has another form; {found(said)}")
        elif not isinstance(mine.setdefault(key, type(said)()), type(said)):
            # The policy's own part is at fault, and is told so when it is read.
            return
        elif isinstance(said, list):
            for at, each in enumerate(said):
                outer: Path = (key, len(mine[key]))
                mine[key].append(each)
                self._source.take_in(other, (key, at), outer)
        else:
            for name, each in said.items():
                if name in mine[key]:
                    twice = f"{named(name)} stands in another file of the policy already"
                    other.fault((key, name), "duplicate", twice)
                    continue
                mine[key][name] = each
                self._source.take_in(other, (key, name), (key, name))

    def _lists(self, source: Source, value: Any, path: Path) -> None:
        """Put every list that stands in a file where its name stands."""
        if isinstance(value, list):
            for at, each in enumerate(value):
                self._lists(source, each, (*path, at))
        elif isinstance(value, dict):
            named_list = value.get("among")
            if isinstance(named_list, dict) and named_list.keys() == {"file"}:
                value["among"] = self._listed(source, (*path, "among"), named_list["file"])
            for key, each in value.items():
                self._lists(source, each, (*path, key))

    def _listed(self, source: Source, path: Path, name: Any) -> list[str]:
        if not isinstance(name, str):
            source.fault(path, "type", f"expected the name of a file; {found(name)}")
            return []
        data = self._contents(source, path, name)
        if data is None:
            return []
        if len(data) > MAX_BYTES:
            source.fault(path, "value", f"{named(name)} is larger than {MAX_BYTES:,} bytes")
            return []
        try:
            lines = [line.strip() for line in data.decode("utf-8-sig").splitlines()]
        except UnicodeDecodeError:
            source.fault(
                path, "value", f"{named(name)} is not UTF-8 text; save it in that encoding"
            )
            return []
        entries = [line for line in lines if line and not line.startswith("#")]
        if len(entries) > MAX_ENTRIES or not entries:
            size = f"{named(name)} has {len(entries):,} lines, and a list has 1 to {MAX_ENTRIES:,}"
            source.fault(path, "value", size)
            return []
        return list(dict.fromkeys(entries))

    def _contents(self, source: Source, path: Path, name: str) -> bytes | None:
        if self._beside is None:
            what = "a policy that is given as text has no folder to read files from"
            source.fault(path, "value", what)
            return None
        try:
            return self._beside(name)
        except OSError as problem:
            source.fault(path, "value", f"{named(name)} cannot be read: {problem.strerror}")
        except ValueError as problem:
            source.fault(path, "value", str(problem))
        return None

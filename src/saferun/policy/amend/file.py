"""A file of YAML with something more in it, or something else.

Nothing is written anew but what is asked for: the text is cut at the place and put together again
around it, so comments, order and layout stay as their author has left them. What comes out is
read again and has to say what was asked for, and all else as before; otherwise it is refused.
"""

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from saferun.errors import SafeRunError
from saferun.policy.amend.yaml import block, flow, scalar
from saferun.policy.source import Path, read

STEP = 2
"""Spaces of indentation, where the file gives no example."""


class AmendError(SafeRunError):
    """A file that cannot be changed in place: one sentence on why, and on what to do."""


def appended(text: bytes, path: Path, value: Mapping[str, Any]) -> bytes:
    """The file with one more item at the end of the list at `path`. Raises AmendError.

    Where the mapping that would hold the list has none, it is made.
    """
    file = _File(text)
    expected = file.value()
    holder = _held(expected, path[:-1])
    if not isinstance(holder, dict):
        raise AmendError(_cannot(path))
    node = file.node(path)
    if node is None:
        holder[path[-1]] = [value]
        file.key(path[:-1], str(path[-1]), [value])
    else:
        if not isinstance(node, SequenceNode):
            raise AmendError(_cannot(path))
        holder[path[-1]].append(value)
        file.item(node, value)
    return file.checked(expected, path)


def begun(name: str, value: Mapping[str, Any]) -> bytes:
    """A new file that has a list with one item in it."""
    return ("\n".join(_lines(name, [value])) + "\n").encode()


def put(text: bytes, path: Path, value: Any) -> bytes:
    """The file with a new key in a mapping, both named by `path`. Raises AmendError."""
    file = _File(text)
    expected = file.value()
    holder = _held(expected, path[:-1])
    if not isinstance(holder, dict) or path[-1] in holder:
        raise AmendError(_cannot(path))
    holder[path[-1]] = value
    file.key(path[:-1], str(path[-1]), value)
    return file.checked(expected, path)


def replaced(text: bytes, path: Path, value: Any) -> bytes:
    """The file with another value at `path`, where one stands on one line. Raises AmendError."""
    file = _File(text)
    expected = file.value()
    node = file.node(path)
    holder = _held(expected, path[:-1])
    if node is None or not isinstance(holder, dict | list):
        raise AmendError(_cannot(path))
    if isinstance(node, SequenceNode | MappingNode) and not node.flow_style:
        raise AmendError(_cannot(path))
    holder[path[-1]] = value  # type: ignore[index] # the node was found under it
    file.swap(node, flow(value))
    return file.checked(expected, path)


def _cannot(path: Path) -> str:
    where = ".".join(map(str, path))
    return f"{where} is not written in a way that can be changed in place; edit the file by hand."


def _held(value: Any, path: Path) -> Any:
    for step in path:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            return None
    return value


class _File:
    """A text, and the tree of what stands where in it."""

    def __init__(self, text: bytes) -> None:
        source = read(text)
        if source.faults:
            raise AmendError(f"The file cannot be read: {source.faults[0].message}.")
        whole = text.decode("utf-8")
        self._mark = "\ufeff" if whole.startswith("\ufeff") else ""
        # Lines end in their own way, and new ones as the first does.
        self._lines = whole.removeprefix("\ufeff").split("\n")
        self._return = "\r" if self._lines[0].endswith("\r") else ""
        # The parser counts characters, and reads either end of a line as one.
        self._text = "\n".join(map(_ended, self._lines))
        self._value = source.value
        self._tree: Any = YAML(typ="safe", pure=True).compose(StringIO(self._text))

    def value(self) -> Any:
        """What it says, to be changed by whoever asks."""
        return read(self._text).value

    def node(self, path: Path) -> Node | None:
        node: Any = self._tree
        for step in path:
            if isinstance(node, MappingNode):
                node = next((held for key, held in node.value if key.value == step), None)
            elif isinstance(node, SequenceNode) and isinstance(step, int):
                node = node.value[step] if step < len(node.value) else None
            else:
                return None
        return node if isinstance(node, Node) else None

    def checked(self, expected: Any, path: Path) -> bytes:
        source = read(self._text)
        if source.faults or source.value != expected:
            raise AmendError(_cannot(path))
        return (self._mark + "\n".join(self._as_they_end())).encode()

    def _as_they_end(self) -> list[str]:
        """The lines of the text, those that were there before with their own ends."""
        were, now = self._lines, self._text.split("\n")
        same = [_ended(each) for each in were]
        most = min(len(were), len(now))
        head = next((at for at in range(most) if same[at] != now[at]), most)
        most -= head
        tail = next((at for at in range(most) if same[-1 - at] != now[-1 - at]), most)
        new = [line + self._return for line in now[head : len(now) - tail]]
        if not tail:
            # Nothing ends the last one.
            new[-1:] = now[-1:]
        return [*were[:head], *new, *were[len(were) - tail :]]

    def item(self, node: SequenceNode, value: Mapping[str, Any]) -> None:
        if node.flow_style:
            self._within(node, flow(value))
        else:
            first, *rest = block(value)
            column = node.start_mark.column
            edge = " " * column
            self._below(node, [f"{edge}- {first}", *(f"{edge}  {line}" for line in rest)])

    def key(self, path: Path, name: str, value: Any) -> None:
        node = self.node(path)
        if not isinstance(node, MappingNode):
            raise AmendError(_cannot((*path, name)))
        if node.flow_style:
            self._within(node, f"{scalar(name)}: {flow(value)}")
            return
        column = node.value[0][0].start_mark.column if node.value else 0
        self._below(node, [" " * column + line for line in _lines(name, value)])

    def swap(self, node: Node, written: str) -> None:
        first, last = node.start_mark.index, node.end_mark.index
        self._text = self._text[:first] + written + self._text[last:]

    def _within(self, node: Any, written: str) -> None:
        """Put something before the bracket that ends a list or mapping on one line."""
        close = int(node.end_mark.index) - 1
        comma = ""
        before = self._text[:close].rstrip(" ")
        if node.value:
            # A comma may stand there already, and not only one in a comment.
            after = self._text[_end_of_last(node) : close]
            comma = "" if "," in re.sub("#.*", "", after) else ","
            if before.endswith("\n"):
                before = self._text[:close] + " " * STEP
            else:
                comma += " "
        self._text = before + comma + written + self._text[close:]

    def _below(self, node: Node, lines: list[str]) -> None:
        """Put lines below the last one that a list or mapping takes up."""
        last = len(self._text[: _end(node)].rstrip())
        end = self._text.find("\n", last)
        if end < 0:
            self._text += "\n"
            end = len(self._text) - 1
        self._text = self._text[: end + 1] + "\n".join(lines) + "\n" + self._text[end + 1 :]


def _ended(line: str) -> str:
    return line.removesuffix("\r")


def _lines(name: str, value: Any) -> list[str]:
    """A key with what it holds, over as many lines as is read easily."""
    lead = f"{scalar(name)}:"
    match value:
        case [Mapping() as one]:
            first, *rest = block(one)
            edge = " " * STEP
            return [lead, f"{edge}- {first}", *(f"{edge}  {line}" for line in rest)]
        case Mapping() as held if held:
            inner = [line for key, each in held.items() for line in _lines(key, each)]
            return [lead, *(" " * STEP + line for line in inner)]
    return [f"{lead} {flow(value)}"]


def _end_of_last(node: Any) -> int:
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def _end(node: Any) -> int:
    """Where the last character stands that belongs to a value.

    What ends a block by its indentation is only found further down, after comments that are of
    something else.
    """
    if isinstance(node, ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    if isinstance(node, SequenceNode):
        return _end(node.value[-1])
    key, held = node.value[-1]
    return max(int(key.end_mark.index), _end(held))

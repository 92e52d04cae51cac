"""Paths, followed to where they lead before policy decides on them.

A policy is pure and compares text. What `notes/../../etc/passwd`, or a link, leads to is for
the file system to say; the tool is then given the very path that was decided on. What the path
leads to afterwards is out of sight (see the limits in the threat model).
"""

import os
from collections.abc import Mapping
from typing import Any, Literal

from msgspec.structs import replace

from saferun.call import Call


def resolved(call: Call, paths: Mapping[str, Literal["path", "paths"]]) -> Call:
    """The call with its paths absolute and without links and `..`, as far as they exist.

    The same call where they are so already. What is no path is left for policy to refuse.
    """
    new: dict[str, Any] = {}
    for name, kind in paths.items():
        value = call.args.get(name)
        found = _path(value) if kind == "path" else _paths(value)
        if found != value:
            new[name] = found
    return replace(call, args={**call.args, **new}) if new else call


def _paths(value: Any) -> Any:
    return [_path(each) for each in value] if isinstance(value, list) else value


def _path(value: Any) -> Any:
    if not isinstance(value, str) or not value:
        return value
    try:
        return os.path.realpath(value)
    except (OSError, ValueError):
        # A loop of links, or a NUL: it leads nowhere.
        return value

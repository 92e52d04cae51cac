"""Paths, followed to where they lead before policy decides on them.

A policy is pure and compares text. What `notes/../../etc/passwd`, or a link, leads to is for
the file system to say; the tool is then given the very path that was decided on. What the path
leads to afterwards is out of sight (see the limits in the threat model).
"""

import os
from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from saferun.call import Call


def resolved(call: Call, paths: Iterable[str]) -> Call:
    """The call with these arguments absolute and without links and `..`, as far as they exist.

    An argument may hold one path or a list of them. The same call comes back where they are
    resolved already. What is no path is left for policy to refuse.
    """
    new = {
        name: found
        for name in paths
        if name in call.args and (found := _resolved(call.args[name])) != call.args[name]
    }
    return replace(call, args={**call.args, **new}) if new else call


def _resolved(value: Any) -> Any:
    if isinstance(value, list):
        return [_resolved(each) for each in value]
    if not isinstance(value, str) or not value:
        return value
    try:
        return os.path.realpath(value)
    except (OSError, ValueError):
        # A loop of links, or a NUL: it leads nowhere.
        return value

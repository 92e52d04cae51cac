"""Where a policy comes from: a file and those beside it, a text, or what a store has kept."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from saferun.errors import PolicyError
from saferun.files import beginning
from saferun.policy.policy import Policy

if TYPE_CHECKING:
    from saferun.policy.gather import Beside


def load(path: str | Path, beside: "Beside | None" = None) -> Policy:
    """The policy in a file, with all that it includes. It has the file's name if it says none.

    `beside` reads those files, for whoever wants to know which they are. Raises PolicyError
    with the first thing that is wrong, in the order of the file; `check` tells all of them.
    """
    from saferun.policy.source import MAX_BYTES

    try:
        text = beginning(Path(path), MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"the policy cannot be read: {error.strerror}", str(path)) from None
    return loads(text, str(path), beside)


def loads(text: str | bytes, path: str | None = None, beside: "Beside | None" = None) -> Policy:
    """The policy in a text.

    `path` is where the text came from: for errors, for its name, and for the files beside it
    that it includes. Raises PolicyError as `load` does.
    """
    # Imported here: reading YAML and compiling schemas would take a quarter of the time
    # that `import saferun` may take, and only loading needs them.
    from saferun.policy.gather import gather, reader

    if beside is None and path is not None:
        beside = reader(Path(path).parent)
    return _policy(gather(text, path, beside), path)


def included(text: bytes, path: str | None, place: tuple[str | int, ...]) -> str | None:
    """The file from which a policy includes what it says at a place, None where it says it itself.

    `path` is where the text came from, as for `loads`.
    """
    from saferun.policy.gather import gather, reader

    source = gather(text, path, None if path is None else reader(Path(path).parent))
    found = source.file_of(place)
    return None if found == source.file else found


def restore(value: Mapping[str, Any] | bytes) -> Policy:
    """The policy of a canonical form, as `Policy.canonical` gives it, or of its value.

    Raises PolicyError where it is no such form.
    """
    from saferun.policy.source import Source

    if isinstance(value, bytes):
        try:
            value = msgspec.json.decode(value, type=dict[str, Any])
        except (msgspec.MsgspecError, RecursionError):
            raise PolicyError("what was kept of the policy cannot be read") from None
    return _policy(Source(dict(value)), None)


def _policy(source: Any, path: str | None) -> Policy:
    from saferun.policy.compiler import compile_policy
    from saferun.policy.parse import parse

    document = parse(source, Path(path).stem if path else "policy")
    if document is None:
        fault = source.faults[0]
        raise PolicyError(fault.message, fault.file, fault.line, fault.column)
    return compile_policy(document)

"""Where a policy comes from: a file, or its text."""

from pathlib import Path

from saferun.errors import PolicyError
from saferun.policy.policy import Policy


def load(path: str | Path) -> Policy:
    """The policy in a file. Where it gives itself no name, it has the file's.

    Raises PolicyError with the first thing that is wrong, in the order of the file;
    `check` tells all of them.
    """
    from saferun.policy.source import MAX_BYTES

    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PolicyError(f"the policy cannot be read: {error.strerror}", str(path)) from None
    return loads(text, str(path))


def loads(text: str | bytes, path: str | None = None) -> Policy:
    """The policy in a text. `path` is where the text came from, for errors and for its name.

    Raises PolicyError as `load` does.
    """
    # Imported here: reading YAML and compiling schemas would take a quarter of the time
    # that `import saferun` may take, and only loading needs them.
    from saferun.policy.compiler import compile_policy
    from saferun.policy.parse import parse
    from saferun.policy.source import read

    source = read(text)
    document = parse(source, Path(path).stem if path else "policy")
    if document is None:
        fault = source.faults[0]
        raise PolicyError(fault.message, path, fault.line, fault.column)
    return compile_policy(document)

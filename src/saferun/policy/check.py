"""Everything there is to say about a policy file, for whoever writes it."""

from pathlib import PurePath
from typing import Literal

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say about a policy file. With an `error`, the file does not load.

    `code` is for programs and stays as it is, `message` is for people. `line` counts
    from 1, and is None where the file as a whole is meant.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None


def check(text: str | bytes, path: str | None = None) -> list[Finding]:
    """All the errors in a policy file, in its order, or where there are none the warnings.

    `path` is where the text came from.
    """
    from saferun.policy.lint import lint
    from saferun.policy.parse import parse
    from saferun.policy.source import read

    source = read(text)
    document = parse(source, PurePath(path).stem if path else "policy")
    if document is None:
        return [
            Finding(
                severity="error",
                code=each.code,
                message=each.message,
                path=path,
                line=each.line,
                column=each.column,
            )
            for each in source.faults
        ]
    return [
        Finding(
            severity="warning",
            code=each.code,
            message=each.message,
            path=path,
            line=each.line,
        )
        for each in lint(source, document)
    ]

"""Everything there is to say about a policy file, for whoever writes it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from saferun.policy.analysis.signatures import Taken


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to say about a policy file.

    With an `error`, the file does not load, or asks of people what they can never give.

    `code` is for programs and stays as it is, `message` is for people. `path` is the file that
    it is about: the policy's own, or one that it includes. `line` counts from 1, and is None
    where the file as a whole is meant.
    """

    severity: Literal["error", "warning"]
    code: str
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None


def check(
    text: str | bytes,
    path: str | None = None,
    *,
    tools: "Mapping[str, Taken] | None" = None,
    people: "Mapping[str, Collection[str]] | None" = None,
) -> list[Finding]:
    """All that keeps a policy and what it includes from loading, or else what to look at again.

    They are in the order of the file. `path` is where the text came from, and where the files
    lie that it includes. `tools`, by their names, are those that it is held against, and `people`
    says for each name of a person or a group who stands behind it.
    """
    from saferun.policy.gather import gather, reader
    from saferun.policy.lint import lint
    from saferun.policy.parse import parse

    source = gather(text, path, None if path is None else reader(Path(path).parent))
    document = parse(source, Path(path).stem if path else "policy")
    if document is None:
        return [
            Finding(
                severity="error",
                code=each.code,
                message=each.message,
                path=each.file,
                line=each.line,
                column=each.column,
            )
            for each in source.faults
        ]
    return [
        Finding(
            severity="error" if each.error else "warning",
            code=each.code,
            message=each.message,
            path=each.file,
            line=each.line,
        )
        for each in lint(source, document, tools, people)
    ]

"""The names and sentences that a policy chooses itself."""

from saferun.policy.editor.shape import Schema, many, text
from saferun.policy.parse.whole import MAX_NAME

ARGUMENT: Schema = {"type": "string", "pattern": r"^[^\s?*]+$", "maxLength": MAX_NAME}
TOOL: Schema = {"type": "string", "pattern": r"^[^\s?*]*[^\s?]$", "maxLength": MAX_NAME}
"""A `*` stands at the end alone, for all names that begin so."""
ANY: Schema = {"type": "string", "pattern": r"^\S+$", "maxLength": MAX_NAME}
POLICY = r"^[a-z0-9._-]{1,64}$"
INPUT: Schema = {
    "type": "string",
    "pattern": r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,4}$",
}

ID = text(
    "How decisions name it. Every rule and limit of the policy has an id of its own.",
    "big-refund",
    pattern="^[A-Za-z0-9._-]{1,64}$",
)


def sentence(meaning: str, example: str) -> Schema:
    return text(meaning, example, pattern=r"\S")


def names(meaning: str, *example: str) -> Schema:
    """A list of names, each once."""
    return many(meaning, ANY, uniqueItems=True, examples=[list(example)])

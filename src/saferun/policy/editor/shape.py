"""The shapes that the schema of a policy file is made of.

Each says its meaning first: an editor shows it to whoever rests on the key. Draft 2020-12, in
words alone that mean the same in draft-07, which is what most editors read; so nothing that
checks stands beside a `$ref`, where the older draft would not look at it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Schema: TypeAlias = dict[str, Any]


def closed(
    meaning: str, keys: Mapping[str, Schema], *, required: Sequence[str] = (), **more: Any
) -> Schema:
    """A mapping that may have these keys and no others."""
    body: Schema = {"description": meaning, "type": "object", "properties": dict(keys)}
    if required:
        body["required"] = list(required)
    return {**body, "additionalProperties": False, **more}


def by_name(meaning: str, names: Schema, each: Schema, **more: Any) -> Schema:
    """A mapping from names, which the policy chooses, to one shape."""
    body: Schema = {"description": meaning, "type": "object", "propertyNames": names}
    return {**body, "additionalProperties": each, **more}


def many(meaning: str, each: Schema, **more: Any) -> Schema:
    """A list of things that have one shape."""
    return {"description": meaning, "type": "array", "items": each, **more}


def one_of(meaning: str, words: Iterable[str], default: str | None = None) -> Schema:
    """One of a few words. `default` is what holds where the key is left out."""
    body: Schema = {"description": meaning, "enum": list(words)}
    return body if default is None else {**body, "default": default}


def flag(meaning: str, *, default: bool) -> Schema:
    return {"description": meaning, "type": "boolean", "default": default}


def text(meaning: str, *examples: str, **bounds: Any) -> Schema:
    return {"description": meaning, "type": "string", **bounds, "examples": list(examples)}


def any_of(meaning: str, *forms: Schema, examples: Sequence[Any]) -> Schema:
    """A value that has one of several forms."""
    return {"description": meaning, "anyOf": list(forms), "examples": list(examples)}


def by_type(meaning: str, *forms: Schema, examples: Sequence[Any]) -> Schema:
    """A value whose form depends on its type, of which each form has another one.

    What a form says, it says of its own type alone, so that all can stand side by side. Under
    `anyOf`, a typo inside one of them would only be told as "none of these".
    """
    said = {
        word: each
        for form in forms
        for word, each in form.items()
        if word not in ("type", "description", "examples")
    }
    types = [form["type"] for form in forms]
    return {"description": meaning, "type": types, **said, "examples": list(examples)}


def use(name: str, meaning: str | None = None) -> Schema:
    """The shape that stands under `$defs`, for a key that may say more of its own meaning."""
    body: Schema = {"$ref": f"#/$defs/{name}"}
    return body if meaning is None else {"description": meaning, **body}

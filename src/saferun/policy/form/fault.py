"""What is wrong with a form, and the bodies of those forms that are mappings."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from saferun.policy.wording import found, listed, meant, named

Fault: TypeAlias = tuple[tuple[str | int, ...], str]
"""The steps from the form's value to what is wrong, and what that is."""


def strangers(said: Any, keys: tuple[str, ...], example: str) -> Iterator[Fault]:
    """What is wrong with a mapping that may have these keys and no others."""
    if not isinstance(said, dict):
        yield (), f"expected a mapping such as `{example}`; {found(said)}"
        return
    for key in said:
        if key not in keys:
            known = f"{named(key)} is not a key here, but one of {listed(keys)} is"
            yield (key,), known + meant(key, keys)


def members(said: dict[str, Any], key: str, what: str) -> Iterator[Fault]:
    """What is wrong with the list under a key, if there is one: it says something, in texts."""
    if key not in said:
        return
    value = said[key]
    if not isinstance(value, list) or not value:
        yield (key,), f"expected a list of {what}; {found(value)}"
        return
    for at, each in enumerate(value):
        if not isinstance(each, str):
            yield (key, at), f"expected {what}; {found(each)}"
        elif each in value[:at]:
            yield (key, at), f"{named(each)} stands here twice"

"""A schema without the forms, for analysis that knows JSON Schema alone."""

from typing import Any, NamedTuple

from saferun.policy.form.held import inside, rebuilt
from saferun.policy.form.units import KEPT

_DROPPED = ("unit", KEPT)
_OPAQUE = ("email", "url", "under", "sql")


class Plain(NamedTuple):
    """A JSON Schema that every value fits that the policy takes to fit, and maybe others.

    `exact` says that there are no others, spelled numbers aside: `5.0` for `5`.
    """

    schema: dict[str, Any]
    exact: bool


def plain(schema: dict[str, Any], *, to_allow: bool = True) -> Plain:
    """JSON Schema for the values that fit, or with `to_allow` False for those that are caught."""
    if not _formed(schema):
        return Plain(_stripped(schema), exact=True)
    widening = _Widening(to_allow=to_allow)
    return Plain(widening.of(schema, wider=True), widening.exact)


class _Widening:
    """One schema on its way. `exact` turns False where something could not be said."""

    def __init__(self, *, to_allow: bool) -> None:
        self.exact = True
        self._to_allow = to_allow

    def of(self, schema: Any, *, wider: bool) -> Any:
        """A schema of everything that this one fits, or with `wider` False of nothing else."""
        if not isinstance(schema, dict):
            return schema
        if not _formed(schema):
            return _stripped(schema)
        if not wider and self._vague(schema):
            return False
        new = {word: each for word, each in schema.items() if word not in _DROPPED}
        said = [self._said(new, word, wider=wider) for word in ("forbid", "among", *_OPAQUE)]
        self._loosen(new)
        loose = dict(new)
        for (keyword, *at), held in inside(loose):
            each = self.of(held, wider=wider if keyword != "not" else not wider)
            if not at:
                new[keyword] = each
                continue
            if new[keyword] is loose[keyword]:
                new[keyword] = loose[keyword].copy()
            new[keyword][at[0]] = each
        more = [each for each in said if each is not None]
        if False in more:
            return False
        return {**new, "allOf": [*new.get("allOf", []), *more]} if more else new

    def _said(self, schema: dict[str, Any], word: str, *, wider: bool) -> Any:
        """What one form says, taken out of its schema; None for nothing."""
        if word not in schema:
            return None
        values = schema.pop(word)
        # What lets through is read exactly, and what stops is read roughly, but under a `not`.
        exactly = self._to_allow == wider
        if word == "among":
            self.exact &= exactly
            # Read roughly there are more such texts than can be listed.
            return {"enum": values} if exactly or not wider else None
        if word == "forbid":
            rough = exactly and any(map(_holds_text, values))
            self.exact &= not rough
            return False if rough and not wider else {"not": {"enum": values}}
        self.exact = False
        return None if wider else False

    def _vague(self, schema: dict[str, Any]) -> bool:
        """Whether a narrower schema cannot be had from the parts of this one."""
        vague = any(
            _formed(schema[word]) for word in ("if", "then", "else", "oneOf") if word in schema
        )
        vague |= "contains" in schema and _formed(schema["contains"]) and "maxContains" in schema
        vague |= any(word.startswith("unevaluated") for word in schema)
        self.exact &= not vague
        return vague

    def _loosen(self, schema: dict[str, Any]) -> None:
        """Take out what would hold of less where its parts hold of more."""
        if any(_formed(schema[word]) for word in ("if", "then", "else") if word in schema):
            self.exact = False
            for word in ("if", "then", "else"):
                schema.pop(word, None)
        if "oneOf" in schema and _formed(schema["oneOf"]):
            self.exact = False
            one_of = {"anyOf": schema.pop("oneOf")}
            schema["allOf"] = [*schema.get("allOf", []), one_of]
        if "contains" in schema and _formed(schema["contains"]) and "maxContains" in schema:
            self.exact = False
            del schema["maxContains"]
        for word in [each for each in schema if each.startswith("unevaluated")]:
            self.exact = False
            del schema[word]


def _formed(schema: Any) -> bool:
    """Whether a form stands in a schema, or in one of a list of schemas, at any depth."""
    if isinstance(schema, list):
        return any(map(_formed, schema))
    if not isinstance(schema, dict):
        return False
    return not schema.keys().isdisjoint(("forbid", "among", *_OPAQUE)) or any(
        _formed(held) for _, held in inside(schema)
    )


def _stripped(schema: Any) -> Any:
    """The same schema without its units."""
    if not isinstance(schema, dict):
        return schema
    new = {word: each for word, each in schema.items() if word not in _DROPPED}
    return rebuilt(schema, new, lambda _, held: _stripped(held))


def _holds_text(value: Any) -> bool:
    if isinstance(value, dict):
        # The names of its properties are texts.
        return bool(value)
    if isinstance(value, list):
        return any(map(_holds_text, value))
    return isinstance(value, str)

"""Schemas as a policy writes them: with the definitions that they use put in place."""

from typing import Any

from saferun.policy import form
from saferun.policy.matcher import Matcher
from saferun.policy.parse.whole import Whole
from saferun.policy.reading import floats_in
from saferun.policy.schema import examine, meant, types
from saferun.policy.source import Path
from saferun.policy.wording import found, listed, named

MAX_EXPANDED = 50_000
"""Schemas that a policy may consist of with its definitions in place.

A definition that uses another one twice, which uses a third one twice, grows without end.
"""


class Schemas:
    """The definitions of a policy, and how many schemas they have been put into so far."""

    def __init__(self, whole: Whole, definitions: dict[str, Any]) -> None:
        self._whole = whole
        self._definitions = definitions
        self._left = MAX_EXPANDED

    def examine_all(self) -> None:
        """Tell what is wrong with the definitions, also of those that nothing uses."""
        for name in self._definitions:
            path: Path = ("definitions", name)
            self._whole.name(path)
            self.whole(path, self._definitions[name])

    def whole(self, path: Path, said: Any, about: dict[str, Any] | None = None) -> dict[str, Any]:
        """A schema with its definitions and units in place, and `{}` where it has faults.

        `about` is the schema of the argument that it is one more condition on: its type and
        its unit hold here too.
        """
        source = self._whole.source
        if not isinstance(said, dict | str):
            what = "expected a JSON Schema, such as `{type: string}`, or `{}` for any value"
            source.fault(path, "type", f"{what}; {found(said)}")
            return {}
        schema = self._expanded(path, said, ())
        unit = {"unit": about["unit"]} if about and "unit" in about else {}
        if unit and schema.get("unit", unit["unit"]) != unit["unit"]:
            what = f"the argument is counted in {unit['unit']}, and a rule cannot change that"
            source.fault((*path, "unit"), "value", what)
        if source.sound(path):
            schema = form.expand(
                {**unit, **schema}, lambda at, why: source.fault((*path, *at), "value", why)
            )
        if source.sound(path):
            # An argument's default is the argument's; a condition has none.
            own = ("default",) if about is None else ()
            judged = {word: each for word, each in schema.items() if word not in own}
            examine(source, path, judged, types(about) if about is not None else None)
        return schema if source.sound(path) else {}

    def _expanded(self, path: Path, said: Any, within: tuple[str, ...]) -> Any:
        """A schema with every definition that it uses in its place."""
        if isinstance(said, str):
            said = {"use": said}
        if not isinstance(said, dict):
            return said
        self._left -= 1
        if self._left < 0:
            most = f"with its definitions in place, a policy has more than {MAX_EXPANDED:,} schemas"
            self._whole.source.fault((), "value", f"{most}; use fewer definitions in definitions")
            return {}
        schema = form.rebuilt(
            said,
            dict(said),
            lambda steps, held: self._expanded((*path, *steps), held, within),
        )
        return self._used(path, schema, within) if "use" in schema else schema

    def _used(self, path: Path, schema: dict[str, Any], within: tuple[str, ...]) -> dict[str, Any]:
        name = schema.pop("use")
        source = self._whole.source
        if not isinstance(name, str) or name not in self._definitions:
            what = "expected a JSON Schema, such as `{type: string}`, or the name of a definition"
            known = listed(self._definitions) or "none"
            hint = meant(name, self._definitions) if isinstance(name, str) else ""
            source.fault(path, "value", f"{what} ({known}); {found(name)}{hint}")
            return {}
        if name in within:
            source.fault(path, "value", f"the definition {named(name)} uses itself")
            return {}
        used = self._expanded(("definitions", name), self._definitions[name], (*within, name))
        if not isinstance(used, dict):
            return {}
        if used.keys().isdisjoint(schema):
            return {**used, **schema}
        # Both hold. The type and the unit have to be known where the bounds stand.
        about = {word: used[word] for word in ("type", "unit") if word in used}
        if schema.get("unit", about.get("unit")) != about.get("unit"):
            what = f"the definition {named(name)} is counted in {about.get('unit', 'no unit')}"
            source.fault(path, "value", what)
        also = schema.get("allOf", [])
        if not isinstance(also, list):
            source.fault(path, "schema", f"`allOf` is a list of schemas; {found(also)}")
            return {}
        return {**about, **schema, "allOf": [used, *also]}


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether a value of the policy's own fits a schema, in every reading."""
    return Matcher(schema).admits(value, floats=floats_in({"": value}))

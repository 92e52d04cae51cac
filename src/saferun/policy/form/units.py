"""Amounts, durations and sizes with their units, made plain numbers once and exactly.

    amount: {type: integer, unit: cents, maximum: 200 USD}      # 20000
    wait: {type: integer, unit: s, maximum: 1h30m}              # 5400

A call carries a bare number, so the unit is the argument's: it says what the number counts.
Fractions keep every step exact, and what has no exact number is a fault and not a rounding.
"""

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from saferun.call import canonical
from saferun.policy.form.currency import DECIMALS, SIGNS
from saferun.policy.form.held import SAME_VALUE, rebuilt
from saferun.policy.wording import found, listed, meant, named

FaultSink: TypeAlias = Callable[[tuple[str | int, ...], str], None]
"""Is told the steps from the schema to what is wrong, and what that is."""

LONGEST = 3650 * 86_400 * 10**6
"""The longest stretch of time that a policy may say anything about, in microseconds: ten years."""

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
KEPT = "written"
"""Where a schema keeps how its numbers were written. No policy may say it itself."""

_SINGLE = (*BOUNDS, "const", "default")
_MANY = ("enum", "forbid")

_TIME = {
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86_400),
}
_SIZE = {
    "B": Fraction(1),
    "kB": Fraction(10**3),
    "MB": Fraction(10**6),
    "GB": Fraction(10**9),
    "KiB": Fraction(2**10),
    "MiB": Fraction(2**20),
    "GiB": Fraction(2**30),
}
_WORDS = {
    **dict.fromkeys(("millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("second", "seconds", "sec"), "s"),
    **dict.fromkeys(("minute", "minutes", "m"), "min"),
    **dict.fromkeys(("hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("byte", "bytes"), "B"),
    **dict.fromkeys(("cent",), "cents"),
}
"""Other words for a unit, also where a schema says its `unit`. `m` are minutes: `1h30m`."""

UNITS = (*_TIME, *_SIZE, "cents")
_EVERY_WORD = (*UNITS, *_WORDS, *DECIMALS)

_MAX_TEXT = 60
_MAX_DIGITS = 18
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]+)", re.ASCII)
_SIGNED = re.compile(rf"([{re.escape(''.join(SIGNS))}¥])\s*([0-9]+(?:\.[0-9]+)?)", re.ASCII)


class _Misunderstood(ValueError):
    """A text is no quantity, or not one of this unit."""


class _Unit(NamedTuple):
    """What a number counts. `kind` is `time`, `size` or `money`; `scale` in the kind's own base.

    Of money the base is a whole of `currency`, which is None for cents: a hundredth of any.
    """

    name: str
    kind: str
    scale: Fraction
    currency: str | None = None


def expand(schema: dict[str, Any], fault: FaultSink) -> dict[str, Any]:
    """A schema with every bound that was written with a unit as a number of the schema's unit.

    `schema` is left as it is. Where it says `unit`, so do the schemas inside it that look at
    the same value. What was written is kept under `KEPT`, for people who read about it. Bounds
    that are at fault are told to `fault` and left out.
    """
    expanded: dict[str, Any] = _Expansion(fault).of(schema, (), None, ())
    return expanded


def parse_duration(text: Any) -> int:
    """Microseconds of a duration such as `30s`, `1h30m` or `500 ms`, and more than none.

    Raises ValueError with a sentence that says what to write.
    """
    if not isinstance(text, str):
        # Whatever a policy holds here, the one error says what to write instead.
        raise ValueError(  # noqa: TRY004
            f"expected a duration with its unit, such as `30s`; {found(text)}"
        )
    if text.strip().startswith("-"):
        raise ValueError(f"a duration is not less than nothing; {found(text)}")
    microseconds = _quantity(text, _unit("s")) * 10**6
    if microseconds.denominator != 1:
        raise ValueError(f"a duration is counted in whole microseconds; {found(text)}")
    if not microseconds:
        raise ValueError(f"a duration is longer than nothing; {found(text)}")
    return int(microseconds)


def unit_fault(said: Any) -> str | None:
    """What is wrong with the word under `unit`, None where it is one."""
    try:
        _unit(said)
    except _Misunderstood as problem:
        return str(problem)
    return None


class _Expansion:
    """One schema on its way; the parts that have faults are told and left out."""

    def __init__(self, fault: FaultSink) -> None:
        self._fault = fault

    def of(
        self, schema: Any, path: tuple[str | int, ...], around: Any, types: Iterable[str]
    ) -> Any:
        if not isinstance(schema, dict):
            return schema
        if KEPT in schema:
            self._fault((*path, KEPT), f"`{KEPT}` is no keyword of JSON Schema")
        said = schema.get("unit", around)
        if around is not None and said != around:
            self._fault((*path, "unit"), f"the value is counted in {around} already")
        kind = schema.get("type", types)
        types = (kind,) if isinstance(kind, str) else kind if isinstance(kind, list) else types
        plain = dict(schema)
        if said is None:
            self._bare(schema, path)
        elif (what := unit_fault(said)) is not None:
            # Told where it stands, and not again for each schema inside.
            if "unit" in schema:
                self._fault((*path, "unit"), what)
            said = None
        else:
            self._measure(
                plain, path, _unit(said), whole="integer" in types and "number" not in types
            )

        def expanded(steps: tuple[str | int, ...], held: Any) -> Any:
            same = steps[0] in SAME_VALUE
            return self.of(held, (*path, *steps), said if same else None, types if same else ())

        return rebuilt(schema, plain, expanded)

    def _bare(self, schema: dict[str, Any], path: tuple[str | int, ...]) -> None:
        for keyword in BOUNDS:
            if isinstance(schema.get(keyword), str):
                self._fault(
                    (*path, keyword),
                    "a bound is a number; to write it with a unit, say beside it what the "
                    f"argument counts, such as `unit: cents`; {found(schema[keyword])}",
                )

    def _measure(
        self, plain: dict[str, Any], path: tuple[str | int, ...], unit: _Unit, *, whole: bool
    ) -> None:
        """Put numbers where quantities stand in one schema, and keep what was written."""
        written: dict[str, str] = {}

        def number(value: Any, *steps: str | int) -> Any:
            if not isinstance(value, str):
                return value
            try:
                exact = _number(value, unit, whole=whole)
            except _Misunderstood as problem:
                self._fault((*path, *steps), str(problem))
                return None
            written[canonical.encode(exact).decode()] = " ".join(value.split())
            return exact

        for keyword in _SINGLE:
            if isinstance(plain.get(keyword), str):
                exact = number(plain[keyword], keyword)
                if exact is None:
                    del plain[keyword]
                else:
                    plain[keyword] = exact
        for keyword in _MANY:
            if isinstance(plain.get(keyword), list):
                plain[keyword] = [
                    number(each, keyword, at) for at, each in enumerate(plain[keyword])
                ]
        if any(keyword in plain for keyword in (*_SINGLE, *_MANY)):
            plain["unit"] = unit.name
        if written:
            plain[KEPT] = written


def _unit(said: Any) -> _Unit:
    if not isinstance(said, str):
        raise _Misunderstood(f"expected a unit, such as `cents`, `s` or `MB`; {found(said)}")
    name = _WORDS.get(said, said)
    if name in _TIME:
        return _Unit(name, "time", _TIME[name])
    if name in _SIZE:
        return _Unit(name, "size", _SIZE[name])
    if name == "cents":
        return _Unit(name, "money", Fraction(1, 100))
    if name in DECIMALS:
        return _Unit(name, "money", Fraction(1), name)
    raise _Misunderstood(_no_unit(said))


def _no_unit(word: str) -> str:
    units = f"the units are {listed(UNITS)} and the codes of currencies, such as USD"
    if word in ("KB", "kb", "Kb", "K", "k"):
        return f"{named(word)} is 1000 bytes to some and 1024 to others; write `kB` or `KiB`"
    close = {each.lower(): each for each in reversed(_EVERY_WORD)}.get(word.lower())
    hint = f"; did you mean `{close}`?" if close else meant(word, _EVERY_WORD)
    return f"{named(word)} is not a unit; {units}{hint}"


def _number(text: str, unit: _Unit, *, whole: bool) -> int | float:
    """The number of a unit that a text stands for."""
    exact = _quantity(text, unit)
    if exact.denominator == 1:
        return int(exact)
    if whole:
        raise _Misunderstood(
            f"the argument is a whole number of {unit.name}, and {named(text)} is not"
        )
    number = float(exact)
    if Fraction(repr(number)) != exact:
        raise _Misunderstood(
            f"{named(text)} cannot be written exactly in {unit.name}; use a smaller unit"
        )
    return number


def _quantity(text: str, unit: _Unit) -> Fraction:
    """How many of a unit a text stands for."""
    said = text.strip()
    minus = said.startswith("-")
    said = said[1:].lstrip() if minus else said
    if len(text) > _MAX_TEXT or any(
        len(digits) > _MAX_DIGITS for digits in re.findall("[0-9]+", said)
    ):
        raise _Misunderstood(
            f"expected a quantity such as `{_example(unit)}`, and not so long a text"
        )
    if "," in said or "_" in said:
        raise _Misunderstood(
            "readers disagree on what a comma or an underscore in a number is; "
            f"write it without; {found(text)}"
        )
    if signed := _SIGNED.fullmatch(said):
        amount = _of_sign(text, signed[1], Fraction(signed[2]), unit)
    else:
        amount = _of_words(text, said, unit)
    return -amount if minus else amount


def _of_sign(text: str, sign: str, number: Fraction, unit: _Unit) -> Fraction:
    code = SIGNS.get(sign)
    if code is None:
        raise _Misunderstood(f"`{sign}` stands for more than one currency; write JPY or CNY")
    return _converted(text, number, _unit(code), unit)


def _of_words(text: str, said: str, unit: _Unit) -> Fraction:
    parts = _QUANTITY.findall(said)
    rest = _QUANTITY.sub("", said).strip()
    if not parts or rest:
        raise _Misunderstood(f"expected a quantity such as `{_example(unit)}`; {found(text)}")
    each = [(Fraction(number), _unit(word)) for number, word in parts]
    scales = [part.scale for _, part in each]
    if len(each) > 1 and (
        any(part.kind != "time" for _, part in each)
        or any(low >= high for high, low in pairwise(scales))
    ):
        raise _Misunderstood(
            f"only durations are added up, the longest unit first, as in `1h30m`; {found(text)}"
        )
    return sum((_converted(text, number, part, unit) for number, part in each), Fraction())


def _converted(text: str, number: Fraction, said: _Unit, unit: _Unit) -> Fraction:
    if said.kind != unit.kind:
        raise _Misunderstood(
            f"{named(text)} is {_KINDS[said.kind]}, and what is counted here is {unit.name}; "
            f"write it as in `{_example(unit)}`"
        )
    if said.currency and unit.currency and said.currency != unit.currency:
        raise _Misunderstood(
            f"{named(text)} is another currency, and what is counted here is {unit.currency}; "
            f"write it as in `{_example(unit)}`"
        )
    for part, other in ((said, unit), (unit, said)):
        if part.name == "cents" and other.currency and DECIMALS[other.currency] != 2:
            raise _Misunderstood(
                f"{other.currency} has no cents; count the argument in `unit: {other.currency}`"
            )
    return number * said.scale / unit.scale


_KINDS = {"time": "a duration", "size": "a size", "money": "an amount of money"}


def _example(unit: _Unit) -> str:
    return {"time": "1h30m", "size": "10 MB", "money": f"200 {unit.currency or 'USD'}"}[unit.kind]

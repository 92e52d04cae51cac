"""What is no condition, or one that could only go wrong, is refused with its place and a remedy."""

import pytest

from saferun.policy.expression import (
    BOOL,
    DOUBLE,
    DYN,
    INT,
    NULL,
    STRING,
    TIMESTAMP,
    ExpressionError,
    ListOf,
    MapOf,
    ObjectOf,
    compile_expression,
)

NAMES = {
    "args": ObjectOf({"amount": INT, "note": STRING, "sizes": ListOf(INT), "at": TIMESTAMP}),
    "user": ObjectOf({"tier": STRING}, open=True),
    "map": MapOf(INT),
    "rate": DOUBLE,
    "b": BOOL,
    "n": NULL,
    "a": DYN,
    "now": TIMESTAMP,
}


def fault(marked: str) -> str:
    """What is wrong with a condition, at the place that `«` marks in it."""
    text = marked.replace("«", "", 1)
    with pytest.raises(ExpressionError) as caught:
        compile_expression(text, NAMES)
    error = caught.value
    assert f"{text[: error.offset]}«{text[error.offset :]}" == marked
    assert str(error) == error.message
    return error.message


SLIPS = {
    "a «= 1": "`=` is no operator of a condition; write `==` to compare",
    "a «=== 1": "`===` is no operator of a condition; write `==` to compare",
    "a «!== 1": "`!==` is no operator of a condition; write `!=` to compare",
    "a «<> 1": "`<>` is no operator of a condition; write `!=` to compare",
    "a «=> 1": "`=>` is no operator of a condition; write `>=` to compare",
    "a «=< 1": "`=<` is no operator of a condition; write `<=` to compare",
    "b «& b": "`&` is no operator of a condition; write `&&` for and",
    "b «| b": "`|` is no operator of a condition; write `||` for or",
    "b «and b": "`and` is no operator of a condition; write `&&` for `and`",
    "b «or b": "`or` is no operator of a condition; write `||` for `or`",
    "(b «or b)": "`or` is no operator of a condition; write `||` for `or`",
    "size(a «and b) > 1": "`and` is no operator of a condition; write `&&` for `and`",
    "«not b": "`not` is no operator of a condition; write `!`",
    "a «not in args.sizes": (
        "`not` is no operator of a condition; write `!(a in b)` for `a not in b`"
    ),
    "a «is null": "`is` is no operator of a condition; write `==` for `is`",
    "1 «if b else 2": "`if` is no operator of a condition; write `condition ? one : other`",
    "«if b": "`if` is a reserved word of CEL; write `condition ? one : other`",
    "«while": "`while` is a reserved word of CEL",
    "args.note «contains 'a'": (
        '`contains` is no operator of a condition; write `contains("...")` after a `.`'
    ),
    "2 «** 2": "`**` is no operator of a condition; there are no powers here; write the number out",
    "b«; b": (
        "`;` is no operator of a condition; a condition is one expression; "
        "join two with `&&` or `||`"
    ),
    "«True": "`True` means nothing here; write `true`",
    "a == «None": "`None` means nothing here; write `null`",
    "«len(args.note) > 1": "there is no function `len`; write `size(x)`",
    "args.note.«length > 1": "a string has no fields; write `size(x)`",
    "args.note.«lower() == 'a'": (
        "there is no function `lower`; conditions compare letters as they are; "
        "`matches` with `(?i)` ignores their case"
    ),
    "'a' «in args.note": (
        "`in` looks into lists and objects; write `text.contains(part)` for a string"
    ),
    "«now() > now": "`now` is a value and not a function; leave the `()` out",
    "«any(args.sizes, b)": "there is no function `any`; write `list.exists(x, ...)`",
    "«all(args.sizes, b)": "`all` is called on a list; write `list.all(x, ...)`",
    "«str(1) == '1'": "there is no function `str`; write `string(x)`",
    "«type(a) == 1": (
        "there is no function `type`; conditions have no values that are types; "
        "say the type where a name is declared"
    ),
    "1 < 2 «< 3": (
        "`<` does not compare true or false with a whole number; write `a < b && b < c` for a chain"
    ),
}

FORMS = {
    "«": "a condition cannot be empty; leave `when` out instead",
    "(b«": "the condition ends too early: expected `)` to close the `(` at 1",
    "b«)": "this `)` closes nothing; take it out",
    "b «b": "expected an operator such as `&&`, or the end of the condition, found `b`",
    "b &&«": "the condition ends too early: expected a value",
    "«&& b": "expected a value, found `&&`",
    "b ? 1«": (
        "the condition ends too early: "
        "expected `:` and what holds otherwise, as in `test ? one : other`"
    ),
    "[1, 2«": "the condition ends too early: expected `]` to close the `[` at 1",
    "{'a' «1}": "expected `:` between a key and its value, found `1`",
    "a[0«": "the condition ends too early: expected `]` to close the `[`",
    "a.«in": "expected the name of a field or function after `.`, found `in`",
    "«.a": "a name has no `.` before it; take it out, found `.`",
    "a.«?b": "optional fields are not available; ask with `has(...)` first, found `?`",
    "a[«?0]": "optional items are not available; ask with `in` or `size` first, found `?`",
    "«Foo{a: 1}": "messages are not available in conditions; write a map, `{...}`",
    "«`a`": "a name in backticks is a field's, after a `.`; take the backticks off",
    "!-«a": "expected a number after `-`, found `a`",
    "a == «é": "`é` has no meaning in a condition outside of quotes; take it out",
    "a == «\x00": "U+0000 has no meaning in a condition outside of quotes; take it out",
    "a «# b": "`#` is no operator of a condition; a comment starts with `//`",
    "«'abc": "this string has no end; close it with `'`",
    "«'a\nb'": "this string has no end; close it with `'`",
    "'a«\\q'": (
        "this is no escape of a string; write `\\\\` for a backslash, or put `r` before the quote"
    ),
    "'«\\ud83d'": "U+D83D is no character",
    "«b'a' == a": "bytes are not available in conditions; write a string, without the `b`",
    "«rr'a' == a": "a raw string has one `r` before its quote",
    "a > «9223372036854775808": (
        "this whole number does not fit 64 bits; the largest is 9223372036854775807"
    ),
    "a > «1e999": "this number is larger than a double can be",
    "has(«a)": "`has` takes one field, as in `has(args.note)`",
    "«has()": "`has` takes one field, as in `has(args.note)`",
    "has(«a['b'])": "`has` takes a field after a `.`; write `key in object` for a key in `[...]`",
    "a.all(«1, b)": "`all` starts with a name for the item, as in `all(x, x > 0)`",
    "a.all(x«)": (
        "`all` takes a name and a condition, as in `all(x, x > 0)`; expected `,`, found `)`"
    ),
    "a.all(x, b, «b)": "`all` takes no more than this, as in `all(x, x > 0)`, found `b`",
}

TYPES = {
    "«1": "a condition is true or false, and this is a whole number; compare it with something",
    "«args.note": "a condition is true or false, and this is a string; compare it with something",
    "b && «args.amount": "`&&` wants true or false, and this is a whole number; "
    "compare it with something",
    "!«args.amount": (
        "`!` wants true or false, and this is a whole number; compare it with something"
    ),
    "«1 ? b : b": "what stands before `?` wants true or false, and this is a whole number; "
    "compare it with something",
    "a.all(x, «1)": "`all` wants true or false, and this is a whole number; "
    "compare it with something",
    "a.map(x, «1, x) == a": "the test of `map` wants true or false, and this is a whole number; "
    "compare it with something",
    "args.note «> 3": "`>` does not compare a string with a whole number; "
    "write `string(...)` around the one that is no string",
    "args.note «== 3": "a string never equals a whole number; "
    "write `string(...)` around the one that is no string",
    "args.note «+ 1 == 'a'": "`+` does not work on a string and a whole number; "
    "write `string(...)` around the one that is no string",
    "args.amount «+ 1.5 > 1.0": "`+` does not work on a whole number and a number; "
    "write `double(...)` around the whole number",
    "args.note «== null": "a string never equals null; "
    "write `has(...)` to ask whether a field is there",
    "n «< 1": "`<` does not work on null",
    "args.sizes «< [1]": "`<` does not work on a list",
    "now «> 5": "`>` does not compare a timestamp with a whole number",
    "«-args.note == 1": "`-` does not work on a string",
    "(b ? 1 : «'a') == a": (
        "both sides of `:` have one type, and these are a whole number and a string"
    ),
    "args.sizes[«'a'] == 1": "a list is asked for an item by a whole number, and not by a string",
    "user[«1] == 1": "an object is asked for a value by a string, and not by a whole number",
    "a[«1.5] == 1": "an item is asked for by a whole number or a string, and not by a number",
    "«b[0] == 1": "true or false has no items",
    "args.amount.«x == 1": "a whole number has no fields",
    "{«1: 2} == a": "the keys of a map are strings, and this is a whole number",
    "{'a': 1, «'a': 2} == a": "this key stands in the map a second time",
    "«1 in map": "the keys of an object are strings, and this is a whole number",
    "'a' «in args.sizes": "a string is never in a list of which each item is a whole number",
    "1 «in now": "`in` looks into lists and objects, and not into a timestamp",
    "«args.note.all(x, b)": "`all` goes through the items of a list or the keys of an object, "
    "and not through a string",
    "«size(1) > 1": "`size` does not work on a whole number",
    "«size() > 1": "`size` takes 1 in its `()`, and here are 0",
    "now.«getHours(1, 2) > 1": "`getHours` takes none or 1 in its `()`, and here are 2",
    "«startsWith('a', 'b')": "`startsWith` is not called in this way; write `x.startsWith(...)`",
    "args.amount.«int() > 1": "`int` is not called in this way; write `int(x)`",
    "«size > 1": "`size` is a function; give it something to work on in `(...)`",
}

NAMES_OF = {
    "«agrs.amount > 1": "`agrs` is not declared; a condition here may speak of "
    "a, args, b, map, n, now, rate, user; did you mean `args`?",
    "args.«amuont > 1": (
        "`amuont` is not a field of `args`; its fields are amount, note, sizes, at; "
        "did you mean `amount`?"
    ),
    "args[«'amuont'] > 1": "`amuont` is not a field of `args`; "
    "its fields are amount, note, sizes, at; did you mean `amount`?",
    "has(args.«amuont)": (
        "`amuont` is not a field of `args`; its fields are amount, note, sizes, at; "
        "did you mean `amount`?"
    ),
    "args.note.«startswith('a')": "there is no function `startswith`; did you mean `startsWith`?",
    "args.sizes.«exist(x, b)": "there is no function `exist`; did you mean `exists`?",
    "a.all(x, «y)": "`y` is not declared; a condition here may speak of "
    "a, args, b, map, n, now, rate, user",
}

CONSTANTS = {
    "args.note.matches(«'(')": "this pattern cannot be used: patterns run in linear time, so "
    "look-around and back-references are not available, and their compiled size is bounded",
    "args.note.matches(«'(?=a)')": "this pattern cannot be used: patterns run in linear time, so "
    "look-around and back-references are not available, and their compiled size is bounded",
    "args.note.matches(«'[[:alpha:]]')": (
        "this pattern cannot be used: write `\\[` for a bracket in "
        "a class, and the characters themselves for a class such as `[:alpha:]`"
    ),
    "args.note.matches(«args.note)": "the pattern of `matches` is written out as a string, so that "
    "it is checked before any call",
    "now.getHours(«args.note) > 1": "the time zone of `getHours` is written out as a string, so "
    "that it is checked before any call",
    "now.getHours(«'Mars') > 1": 'a time zone is a name such as "Europe/Berlin" or an offset such '
    'as "+02:00"',
    "now.getHours(«'Europe') > 1": 'a time zone is a name such as "Europe/Berlin" or an offset '
    'such as "+02:00"',
    "now.getHours(«'../../etc/passwd') > 1": 'a time zone is a name such as "Europe/Berlin" or an '
    'offset such as "+02:00"',
    "timestamp(«'soon') > now": "a timestamp is written as RFC 3339 has it: "
    '"2026-01-31T09:00:00Z", or with "+02:00" for the "Z"',
    "timestamp(«'2023-02-29T00:00:00Z') > now": "there is no such date or time of day",
    "duration(«'1d') > duration('1h')": "a duration is written as numbers with units of "
    'h, m, s, ms, us or ns: "1h30m"',
    "duration(«'9999999h') > duration('1h')": "a duration is longer than 292 years",
}

EVERY = {**SLIPS, **FORMS, **TYPES, **NAMES_OF, **CONSTANTS}


@pytest.mark.parametrize(("marked", "message"), EVERY.items())
def test_a_fault_is_told_at_its_place_with_what_to_write_instead(marked: str, message: str) -> None:
    assert fault(marked) == message


def test_a_name_from_the_text_is_shown_short_and_without_what_acts_on_a_reader() -> None:
    long = "x" * 500
    assert len(fault(f"«{long} > 1")) < 250
    assert "\x1b" not in fault("a == «\x1b[31m")


@pytest.mark.parametrize("text", ["dyn(args.amount)", "user.tags", "a"])
def test_what_may_turn_out_to_be_true_or_false_is_a_condition(text: str) -> None:
    compile_expression(text, NAMES)


def test_a_field_with_a_name_that_is_no_word_stands_in_backticks() -> None:
    names = {"args": ObjectOf({"order-id": STRING})}
    asked = compile_expression("args.`order-id` == 'a' && args['order-id'] == 'a'", names)
    assert asked.holds({"args": {"order-id": "a"}})
    assert asked.reads == {("args", "order-id")}


def test_fields_may_have_the_names_of_reserved_words() -> None:
    assert compile_expression("a.for == 1 && a.package == 2", NAMES).holds(
        {"a": {"for": 1, "package": 2}}
    )

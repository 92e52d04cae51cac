"""Tokens read into a tree, by CEL's grammar.

Text is hostile until shown otherwise. What nests is counted as it is read, and operators
of one level are read in a loop, so no text makes the reader call itself more often than
`MAX_DEPTH` allows.
"""

from typing import NamedTuple, NoReturn

from saferun.policy.expression.error import ExpressionError
from saferun.policy.expression.token import MAX_INT, MIN_INT, Token, tokens
from saferun.policy.expression.tree import (
    Binary,
    Call,
    Choice,
    Has,
    Index,
    Items,
    Literal,
    Local,
    Logic,
    Macro,
    Name,
    Node,
    Pairs,
    Select,
    Unary,
    depth,
    walk,
)
from saferun.policy.wording import named

MAX_TEXT = 4_096
"""Characters. A condition that a person can check by eye is far shorter."""

MAX_NODES = 1_000
MAX_DEPTH = 64
"""Twice what the CEL specification asks of every implementation."""

MACROS = {"all": 2, "exists": 2, "exists_one": 2, "map": 3, "filter": 2}
"""The most parts that each macro takes; `map` also goes without its test."""

_PRECEDENCE = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}

_CONSTANTS = frozenset(("true", "false", "null"))
_RESERVED = frozenset(
    (
        *("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let"),
        *("loop", "package", "namespace", "return", "var", "void", "while"),
    )
)

_WORDS = {
    "and": "write `&&` for `and`",
    "or": "write `||` for `or`",
    "is": "write `==` for `is`",
    "not": "write `!(a in b)` for `a not in b`",
    "if": "write `condition ? one : other`",
    "else": "write `condition ? one : other`",
    "AND": "write `&&` for `AND`",
    "OR": "write `||` for `OR`",
    "eq": "write `==` to compare",
    "like": 'write `matches("...")` after a `.`',
    "contains": 'write `contains("...")` after a `.`',
    "matches": 'write `matches("...")` after a `.`',
    "startsWith": 'write `startsWith("...")` after a `.`',
    "endsWith": 'write `endsWith("...")` after a `.`',
}
"""Words of other languages between two values, and what says the same in this one."""


def parse(text: str) -> Node:
    """The tree of a condition. Raises ExpressionError where it is none or is too large."""
    if len(text) > MAX_TEXT:
        raise ExpressionError(
            f"a condition has at most {MAX_TEXT:,} characters; split it over several rules",
            MAX_TEXT,
        )
    reader = _Reader(text)
    root = reader.whole()
    if sum(1 for _ in walk(root)) > MAX_NODES:
        raise ExpressionError(
            f"a condition has at most {MAX_NODES:,} parts; split it over several rules", 0
        )
    if depth(root) > MAX_DEPTH:
        raise _too_deep(root.start)
    return root


def _too_deep(offset: int) -> ExpressionError:
    return ExpressionError(f"a condition nests at most {MAX_DEPTH} deep; make it flatter", offset)


class _Part(NamedTuple):
    """A node with its place in the text, parentheses around it included."""

    node: Node
    start: int
    end: int


class _Reader:
    def __init__(self, text: str) -> None:
        # All at once: a word that is none is told before whatever it would lead to.
        self._tokens = list(tokens(text))
        self._at = 0
        self._level = 0
        self._locals: list[Local] = []

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._token
        if self._at < len(self._tokens) - 1:
            self._at += 1
        return token

    def _over(self) -> bool:
        return self._token.kind == "end"

    def _sees(self, *marks: str) -> bool:
        return self._token.kind == "mark" and self._token.text in marks

    def _takes(self, mark: str) -> bool:
        return self._sees(mark) and bool(self._take())

    def _want(self, mark: str, why: str) -> Token:
        if not self._sees(mark):
            self._lost(f"expected `{mark}` {why}")
        return self._take()

    def _lost(self, expected: str) -> NoReturn:
        token = self._token
        if token.kind == "end":
            raise ExpressionError(f"the condition ends too early: {expected}", token.start)
        raise ExpressionError(f"{expected}, found {named(token.text)}", token.start)

    def whole(self) -> Node:
        if self._over():
            raise ExpressionError("a condition cannot be empty; leave `when` out instead", 0)
        part = self._expression()
        if not self._over():
            self._stray()
        return part.node

    def _stray(self) -> NoReturn:
        token = self._token
        if token.kind == "name" and token.text in _WORDS:
            word = f"{named(token.text)} is no operator of a condition; {_WORDS[token.text]}"
            raise ExpressionError(word, token.start)
        if token.text in ")]}":
            raise ExpressionError(f"this `{token.text}` closes nothing; take it out", token.start)
        self._lost("expected an operator such as `&&`, or the end of the condition")

    def _expression(self) -> _Part:
        self._level += 1
        if self._level > MAX_DEPTH:
            raise _too_deep(self._token.start)
        part = self._operators()
        if self._takes("?"):
            then = self._operators()
            if not self._sees(":") and self._token.kind == "name":
                self._stray()
            self._want(":", "and what holds otherwise, as in `test ? one : other`")
            other = self._expression()
            node = Choice(
                test=part.node, then=then.node, other=other.node, start=part.start, end=other.end
            )
            part = _Part(node, node.start, node.end)
        self._level -= 1
        return part

    def _operators(self) -> _Part:
        """Values with operators between them, put together by precedence, left to right."""
        parts, waiting = [self._unary()], list[Token]()
        while (token := self._token).text in _PRECEDENCE and token.kind in ("mark", "name"):
            self._take()
            while waiting and _PRECEDENCE[waiting[-1].text] >= _PRECEDENCE[token.text]:
                _combine(parts, waiting.pop())
            waiting.append(token)
            parts.append(self._unary())
        while waiting:
            _combine(parts, waiting.pop())
        [part] = parts
        return part

    def _unary(self) -> _Part:
        first = self._token
        if not self._sees("!", "-"):
            if first.text == "not" and self._tokens[self._at + 1].kind != "mark":
                raise ExpressionError("`not` is no operator of a condition; write `!`", first.start)
            return self._member()
        count = 0
        while self._sees(first.text):
            self._take()
            count += 1
        if first.text == "-" and count == 1 and self._token.kind == "number":
            return self._member(sign=first)
        part = self._member(sign=self._take()) if self._sees("-") else self._member()
        # Two in a row undo each other, whatever they stand before.
        if count % 2 == 0:
            return _Part(part.node, first.start, part.end)
        node = Unary(operator=first.text, operand=part.node, start=first.start, end=part.end)
        return _Part(node, node.start, node.end)

    def _member(self, sign: Token | None = None) -> _Part:
        part = self._primary(sign)
        while self._sees(".", "["):
            part = self._selected(part) if self._takes(".") else self._indexed(part)
        return part

    def _selected(self, part: _Part) -> _Part:
        if self._sees("?"):
            self._lost("optional fields are not available; ask with `has(...)` first")
        token = self._token
        if token.kind != "name" or token.text in _CONSTANTS or token.text == "in":
            self._lost("expected the name of a field or function after `.`")
        self._take()
        field = token.text.strip("`")
        if not self._sees("(") or token.text.startswith("`"):
            node: Node = Select(
                operand=part.node, field=field, at=token.start, start=part.start, end=token.end
            )
            return _Part(node, node.start, node.end)
        if field in MACROS:
            node = self._macro(part, token)
        else:
            arguments, end = self._arguments()
            node = Call(
                function=field,
                target=part.node,
                arguments=arguments,
                at=token.start,
                start=part.start,
                end=end,
            )
        return _Part(node, node.start, node.end)

    def _indexed(self, part: _Part) -> _Part:
        self._take()
        if self._sees("?"):
            self._lost("optional items are not available; ask with `in` or `size` first")
        index = self._expression()
        end = self._want("]", "to close the `[`").end
        node = Index(operand=part.node, index=index.node, start=part.start, end=end)
        return _Part(node, node.start, node.end)

    def _macro(self, over: _Part, name: Token) -> Macro:
        self._take()
        word = self._take()
        usage = f"as in `{name.text}(x, x > 0)`"
        if (
            word.kind != "name"
            or word.text[0] == "`"
            or word.text in _CONSTANTS | _RESERVED | {"in"}
        ):
            raise ExpressionError(
                f"`{name.text}` starts with a name for the item, {usage}", word.start
            )
        if not self._sees(","):
            self._lost(f"`{name.text}` takes a name and a condition, {usage}; expected `,`")
        local = Local(name=word.text, slot=len(self._locals), start=word.start, end=word.end)
        self._locals.append(local)
        parts: list[Node] = []
        while self._takes(","):
            if len(parts) == MACROS[name.text] - 1:
                self._lost(f"`{name.text}` takes no more than this, {usage}")
            parts.append(self._expression().node)
        self._locals.pop()
        end = self._want(")", f"to close `{name.text}(`").end
        *tests, body = parts
        return Macro(
            name=name.text,
            over=over.node,
            variable=local,
            test=tests[0] if tests else None,
            body=body,
            start=over.start,
            end=end,
        )

    def _arguments(self) -> tuple[tuple[Node, ...], int]:
        opening = self._take()
        found: list[Node] = []
        if not self._sees(")"):
            found.append(self._expression().node)
            while self._takes(","):
                found.append(self._expression().node)
        if not self._sees(")") and self._token.kind == "name":
            self._stray()
        return tuple(found), self._want(")", f"to close the `(` at {opening.start + 1}").end

    def _primary(self, sign: Token | None) -> _Part:
        token = self._token
        if token.kind == "number":
            return self._number(sign)
        if sign is not None:
            self._lost("expected a number after `-`")
        if token.kind == "string":
            return _literal(self._take())
        if token.kind == "name":
            return self._word()
        match token.text:
            case "(":
                return self._group()
            case "[":
                return self._list()
            case "{":
                return self._map()
            case ".":
                return self._lost("a name has no `.` before it; take it out")
            case _:
                return self._lost("expected a value")

    def _number(self, sign: Token | None) -> _Part:
        token = self._take()
        value = token.value if sign is None else -token.value
        if type(value) is int and not MIN_INT <= value <= MAX_INT:
            raise ExpressionError(
                "this whole number does not fit 64 bits; the largest is 9223372036854775807",
                token.start,
            )
        start = token.start if sign is None else sign.start
        return _Part(Literal(value=value, start=start, end=token.end), start, token.end)

    def _word(self) -> _Part:
        token = self._take()
        word = token.text
        if word in _CONSTANTS:
            return _literal(token)
        if word.startswith("`"):
            raise ExpressionError(
                "a name in backticks is a field's, after a `.`; take the backticks off", token.start
            )
        if word in _RESERVED or word == "in":
            advice = f"; {_WORDS[word]}" if word in _WORDS else ""
            raise ExpressionError(f"`{word}` is a reserved word of CEL{advice}", token.start)
        if self._sees("("):
            return self._called(token)
        if self._sees("{"):
            raise ExpressionError(
                "messages are not available in conditions; write a map, `{...}`", token.start
            )
        for local in reversed(self._locals):
            if local.name == word:
                node = Local(name=word, slot=local.slot, start=token.start, end=token.end)
                return _Part(node, token.start, token.end)
        return _Part(Name(name=word, start=token.start, end=token.end), token.start, token.end)

    def _called(self, token: Token) -> _Part:
        arguments, end = self._arguments()
        if token.text == "has":
            node = _has(arguments, token.start, end)
        else:
            node = Call(
                function=token.text,
                target=None,
                arguments=arguments,
                at=token.start,
                start=token.start,
                end=end,
            )
        return _Part(node, token.start, end)

    def _group(self) -> _Part:
        opening = self._take()
        part = self._expression()
        if not self._sees(")") and self._token.kind == "name":
            self._stray()
        end = self._want(")", f"to close the `(` at {opening.start + 1}").end
        return _Part(part.node, opening.start, end)

    def _list(self) -> _Part:
        opening = self._take()
        items: list[Node] = []
        while not self._sees("]"):
            items.append(self._expression().node)
            if not self._takes(","):
                break
        end = self._want("]", f"to close the `[` at {opening.start + 1}").end
        return _Part(Items(items=tuple(items), start=opening.start, end=end), opening.start, end)

    def _map(self) -> _Part:
        opening = self._take()
        pairs: list[tuple[Node, Node]] = []
        while not self._sees("}"):
            key = self._expression().node
            self._want(":", "between a key and its value")
            pairs.append((key, self._expression().node))
            if not self._takes(","):
                break
        end = self._want("}", f"to close the `{{` at {opening.start + 1}").end
        return _Part(Pairs(pairs=tuple(pairs), start=opening.start, end=end), opening.start, end)


def _literal(token: Token) -> _Part:
    node = Literal(value=token.value, start=token.start, end=token.end)
    return _Part(node, token.start, token.end)


def _has(arguments: tuple[Node, ...], start: int, end: int) -> Node:
    if len(arguments) == 1:
        [asked] = arguments
        if isinstance(asked, Select):
            return Has(operand=asked.operand, field=asked.field, at=asked.at, start=start, end=end)
        if isinstance(asked, Index):
            raise ExpressionError(
                "`has` takes a field after a `.`; write `key in object` for a key in `[...]`",
                asked.start,
            )
    at = arguments[0].start if arguments else start
    raise ExpressionError("`has` takes one field, as in `has(args.note)`", at)


def _combine(parts: list[_Part], operator: Token) -> None:
    """Replace the last two parts by one that holds both."""
    right = parts.pop()
    left = parts.pop()
    start, end = left.start, right.end
    node: Node
    if operator.text in ("&&", "||"):
        # A row is one node, so a long one is wide and not deep.
        row = left.node
        if isinstance(row, Logic) and row.operator == operator.text and row.start == left.start:
            terms, ats = (*row.terms, right.node), (*row.ats, operator.start)
        else:
            terms, ats = (row, right.node), (operator.start,)
        node = Logic(operator=operator.text, terms=terms, ats=ats, start=start, end=end)
    else:
        node = Binary(
            operator=operator.text,
            left=left.node,
            right=right.node,
            at=operator.start,
            start=start,
            end=end,
        )
    parts.append(_Part(node, start, end))

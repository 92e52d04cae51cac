"""`sql: {dialect: postgres, ...}`: text that is one query, and only reads.

The text is parsed, and what is not understood does not fit. A database may still read a text in
another way than this parser does, by a setting or by an operator that somebody defined: this
does not take the place of a role that may only read. So whatever the readers of SQL are known
to read differently is refused before anything is parsed, comments above all.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from saferun.policy.form.fault import Fault, members, strangers
from saferun.policy.wording import found, meant

if TYPE_CHECKING:
    from sqlglot import exp
    from sqlglot.tokenizer_core import Token

Dialect: TypeAlias = Literal["postgres", "mysql", "sqlite"]
DIALECTS: tuple[Dialect, ...] = ("postgres", "mysql", "sqlite")

MAX_TEXT = 20_000
_MAX_TOKENS = 5_000
_MAX_NODES = 20_000
_MAX_DEPTH = 50
_MAX_RUN = 16
_MAX_WORK = 20_000
"""These bound the time and the stack that parsing takes.

The parser tries what follows a type's name as a type first, and starts over where it is none:
each such bracket inside another more than doubles the work for all that stands in it. Every
token counts threefold for each of them towards `_MAX_WORK`. `_MAX_NODES` counts what is built,
whether it is kept or not.
"""

_NAME = r"[^\W\d][\w$]*"
_TABLE = re.compile(rf"{_NAME}(?:\.{_NAME}){{0,2}}")
_FUNCTION = re.compile(rf"{_NAME}(?:\.{_NAME})?")

_HARMLESS = """
    Abs Acos Acosh And AnyValue Array ArrayAgg ArrayAll ArrayAny ArrayAppend ArrayConcat
    ArrayContainedBy ArrayContains ArrayContainsAll ArrayOverlaps ArrayPosition ArrayPrepend
    ArrayRemove ArraySize ArrayToString Ascii Asin Asinh Atan Atan2 Atanh Avg BitLength
    BitwiseAndAgg BitwiseCount BitwiseOrAgg BitwiseXorAgg ByteLength Case Cast CastToStrType
    Cbrt Ceil Chr Coalesce Collate Concat ConcatWs Convert ConvertTimezone ConvertToCharset Corr
    Cos Cosh Cot Coth Count CovarPop CovarSamp CumeDist CurrentCatalog CurrentDatabase
    CurrentDate CurrentRole CurrentSchema CurrentTime CurrentTimestamp CurrentTimestampLTZ
    CurrentTimezone CurrentUser Date DateAdd DateBin DateDiff DateFromParts DateSub DateTrunc
    Datetime Day DayOfMonth DayOfWeek DayOfYear Dayname Decode Degrees DenseRank Elt Encode
    Exists Exp ExplodingGenerateSeries Extract Factorial FirstValue Floor Format FromBase64
    GenerateSeries Greatest GroupConcat Grouping Hex Hour If Initcap JSONArray JSONArrayAgg
    JSONArrayAppend JSONArrayContains JSONArrayInsert JSONBContains JSONBContainsAllTopKeys
    JSONBContainsAnyTopKeys JSONBContainsTopKey JSONBDeleteAtPath JSONBExists JSONBExtract
    JSONBExtractScalar JSONBObjectAgg JSONBPathExists JSONCast JSONExists JSONExtract
    JSONExtractScalar JSONKeys JSONObject JSONObjectAgg JSONRemove JSONSet JSONStripNulls
    JSONTable JSONType JustifyDays JustifyHours JustifyInterval Lag LastDay LastValue Lead Least
    Left Length Levenshtein Ln Localtime Localtimestamp Log LogicalAnd LogicalOr Lower MD5
    MakeInterval MatchAgainst Max Min Minute Mode Month Monthname Normalize NthValue Ntile
    Nullif NumberToStr Or Overlay Pad PercentRank PercentileCont PercentileDisc Pi Pow Quarter
    Radians Rand Rank RegexpCount RegexpExtract RegexpILike RegexpInstr RegexpLike RegexpReplace
    RegexpSplit RegexpSubstr RegrAvgx RegrAvgy RegrCount RegrIntercept RegrR2 RegrSlope RegrSxx
    RegrSxy RegrSyy Repeat Replace Reverse Right Round RowNumber SHA SHA1Digest SHA2 SHA2Digest
    Second SessionUser Sign Sin Sinh Soundex Space Split SplitPart Sqrt StartsWith Stddev
    StddevPop StddevSamp StrPosition StrToDate StrToTime StrToUnix StringToArray Substring
    SubstringIndex Sum Tan Tanh Time TimeAdd TimeDiff TimeFromParts TimeSub TimeToStr TimeToUnix
    TimeTrunc Timestamp TimestampAdd TimestampDiff TimestampFromParts TimestampSub
    TimestampTrunc ToBase64 ToChar ToDays ToNumber Translate Trim Trunc TsOrDiToDi TsOrDsAdd
    TsOrDsDiff TsOrDsToDate TsOrDsToDateStr TsOrDsToDatetime TsOrDsToTime TsOrDsToTimestamp
    Typeof Unhex Unicode UnixDate UnixToStr UnixToTime Unnest Upper UtcDate UtcTime UtcTimestamp
    Uuid Variance VariancePop Week WeekOfYear WidthBucket XMLElement XMLTable Xor Year
"""
"""The parser's functions that neither write, wait, open nor load anything in these dialects.

A function of another database that the parser knows as well is somebody's own in this one.
"""

_COMPUTE: Mapping[Dialect, str] = {
    "postgres": """
        age array_dims array_fill array_lower array_upper cardinality clock_timestamp div every
        explode gcd isfinite json_agg json_array_elements json_array_elements_text
        json_array_length json_build_array json_build_object json_each json_each_text
        json_extract_path json_extract_path_text json_object_keys json_typeof jsonb_agg
        jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
        jsonb_build_object jsonb_each jsonb_each_text jsonb_extract_path jsonb_extract_path_text
        jsonb_object_keys jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof lcm make_date
        make_time make_timestamp make_timestamptz num_nonnulls num_nulls phraseto_tsquery
        plainto_tsquery quote_ident quote_literal regexp_matches regexp_split_to_array
        regexp_split_to_table row row_to_json scale statement_timestamp timeofday to_json to_jsonb
        to_tsquery to_tsvector transaction_timestamp ts_headline ts_rank ts_rank_cd
        websearch_to_tsquery
    """,
    "mysql": """
        addtime bin bit_count conv crc32 field find_in_set from_days inet6_aton inet6_ntoa inet_aton
        inet_ntoa insert interval json_array json_arrayagg json_contains json_contains_path
        json_depth json_length json_merge_patch json_merge_preserve json_overlaps json_pretty
        json_quote json_unquote json_valid json_value makedate maketime microsecond name_const now
        octet_length ord period_add period_diff sec_to_time strcmp subtime sysdate time_format
        time_to_sec timediff to_seconds unix_timestamp weekday yearweek
    """,
    "sqlite": """
        changes datetime glob json json_array json_array_length json_each json_group_array
        json_group_object json_insert json_object json_patch json_quote json_remove json_replace
        json_set json_tree json_type json_valid julianday last_insert_rowid likelihood likely
        octet_length printf quote time timediff total total_changes unixepoch unlikely
    """,
}
"""Functions of each database's own that do no more either, and that the parser does not know."""

_REFUSED = (
    "DDL DML Command Into Lock Hint JoinHint WithTableHint Operator PropertyEQ Set SetItem Pragma "
    "Use Kill Copy LoadData Transaction Commit Rollback Alter Drop TruncateTable Grant Revoke "
    "Describe Show Analyze Cache Uncache Refresh Attach Detach Export Comment Execute ExecuteSql "
    "Block IfBlock WhileBlock LoopBlock RepeatBlock CaseStatement EndStatement Declare Return "
    "LockingStatement Merge"
)
"""What is no part of a query that only reads, wherever it stands."""

_KNOWN_HARMLESS = frozenset(_HARMLESS.split())
_COMPUTING = {dialect: frozenset(names.split()) for dialect, names in _COMPUTE.items()}

_QUERIES = ("Select", "SetOperation", "Values")
_OPENING = frozenset(("SELECT", "WITH", "VALUES", "L_PAREN"))
_BRACKETS = {"L_PAREN": 1, "L_BRACKET": 1, "L_BRACE": 1, "CASE": 1}
_BRACKETS |= {"R_PAREN": -1, "R_BRACKET": -1, "R_BRACE": -1, "END": -1}
_PREFIXES = frozenset(("NOT", "DASH", "PLUS", "TILDE", "INTERVAL", "EXISTS", "DPIPE", "AT"))
_DISPUTED_END = re.compile(r"""\\['"`]""")
"""Whether a quote after a backslash ends a text is a setting, in MySQL and PostgreSQL alike."""

_WHITE = dict.fromkeys(map(ord, "\t\r\n"))
"""The white space that all readers of SQL agree on, beside the blank."""


class _Query(NamedTuple):
    """What one query reads. `functions` has those that are not known to be harmless."""

    tables: frozenset[tuple[str, ...]]
    functions: frozenset[str]


class _UnreadableError(Exception):
    """The text is not one query that only reads."""


class Sql:
    """One query that reads nothing but these tables and calls nothing but these functions."""

    __slots__ = ("_dialect", "_functions", "_tables")

    def __init__(self, said: dict[str, Any]) -> None:
        self._dialect: Dialect = said["dialect"]
        self._functions = frozenset(each.lower() for each in said.get("functions", ()))
        self._tables = None
        if "tables" in said:
            self._tables = frozenset(
                tuple(_stored(step, self._dialect) for step in table.split("."))
                for table in said["tables"]
            )

    def holds(self, value: Any, *, exactly: bool) -> bool:
        if not isinstance(value, str):
            return True
        query = _query(value, self._dialect) if len(value) <= MAX_TEXT else None
        if query is None:
            return not exactly
        if not query.functions <= self._functions:
            return False
        return self._tables is None or query.tables <= self._tables


def sql_faults(said: Any) -> Iterator[Fault]:
    """What is wrong with the value of `sql`."""
    keys = ("dialect", "read_only", "tables", "functions")
    yield from strangers(said, keys, "{dialect: postgres, read_only: true}")
    if not isinstance(said, dict):
        return
    dialect = said.get("dialect")
    if dialect not in DIALECTS:
        hint = meant(dialect, DIALECTS) if isinstance(dialect, str) else ""
        what = f"a `dialect` is one of {', '.join(DIALECTS)}; {found(dialect)}{hint}"
        yield ("dialect",), what
    if said.get("read_only", True) is not True:
        yield (
            ("read_only",),
            f"only queries can be checked, so it is `true`; {found(said['read_only'])}",
        )
    for key, what, form in (
        ("tables", "the names of tables, such as `orders` or `shop.orders`", _TABLE),
        ("functions", "the names of functions, such as `nextval`", _FUNCTION),
    ):
        yield from members(said, key, what)
        for at, each in enumerate(said[key] if isinstance(said.get(key), list) else ()):
            if isinstance(each, str) and not form.fullmatch(each):
                yield (key, at), f"expected {what}; {found(each)}"
    if find_spec("sqlglot") is None:
        yield (), 'SQL is checked by a parser of its own; run `pip install "saferun-sdk[sql]"`'


# Both readings ask about the same text, as do the glance at a call and the look that follows.
@lru_cache(maxsize=32)
def _query(text: str, dialect: Dialect) -> _Query | None:
    try:
        return _read(_parsed(text, dialect), dialect)
    except RecursionError:
        # How deep the caller stands has to do with it, and is no fact about the text to keep.
        raise
    except Exception:  # noqa: BLE001 - whatever a parser makes of hostile text, it does not fit
        return None


def _parsed(text: str, dialect: Dialect) -> "exp.Expr":
    from sqlglot.dialects.dialect import Dialect as Reader
    from sqlglot.errors import ErrorLevel

    if not text.translate(_WHITE).isprintable() or _DISPUTED_END.search(text):
        raise _UnreadableError
    reader = Reader.get_or_raise(dialect)
    tokens = reader.tokenize(text)
    _bound(text, tokens, {kind.name for kind in reader.parser_class.TYPE_TOKENS})
    parser = reader.parser(error_level=ErrorLevel.IMMEDIATE, max_nodes=_MAX_NODES)
    # One `;` at the end is how people end a statement, and it starts no other.
    statements = [each for each in parser.parse(tokens, text) if each is not None]
    if len(statements) != 1:
        raise _UnreadableError
    return statements[0]


def _bound(text: str, tokens: "list[Token]", types: set[str]) -> None:
    """Refuse what would take long to parse, and text that is not wholly made of tokens."""
    if not tokens or len(tokens) > _MAX_TOKENS or tokens[0].token_type.name not in _OPENING:
        raise _UnreadableError
    end, run, work, before = 0, 0, 0, ""
    tried: list[bool] = []
    for token in tokens:
        kind = token.token_type.name
        # What lies between two tokens is white space, or it is a comment, which some servers
        # execute (`/*! */`), some end elsewhere, and to some is none (`1--1`).
        if token.comments or text[end : token.start].strip(" \t\r\n"):
            raise _UnreadableError
        end = token.end + 1
        run = run + 1 if kind in _PREFIXES else 0
        step = _BRACKETS.get(kind, 0)
        if step > 0:
            tried.append(kind in ("L_BRACKET", "L_BRACE") or before in types)
        elif step < 0 and tried:
            tried.pop()
        work += 3 ** sum(tried)
        if run > _MAX_RUN or len(tried) > _MAX_DEPTH or work > _MAX_WORK:
            raise _UnreadableError
        before = kind
    if text[end:].strip(" \t\r\n"):
        raise _UnreadableError


def _read(statement: "exp.Expr", dialect: Dialect) -> _Query:
    """What a statement reads, once it is certain that it does nothing else."""
    from sqlglot import exp

    queries = tuple(getattr(exp, name) for name in _QUERIES)
    refused = tuple(getattr(exp, name) for name in _REFUSED.split() if hasattr(exp, name))
    if not isinstance(_bare(statement), queries):
        raise _UnreadableError
    tables: set[tuple[str, ...]] = set()
    functions: set[str] = set()
    todo: list[tuple[exp.Expr, frozenset[str]]] = [(statement, frozenset())]
    while todo:
        node, visible = todo.pop()
        # `x IN name` reads the table of that name, and the parser takes it for a column.
        names_a_table = isinstance(node, exp.In) and node.args.get("field") is not None
        if isinstance(node, refused) or names_a_table:
            raise _UnreadableError
        if isinstance(node, exp.Subquery | exp.CTE) and not isinstance(
            _bare(node.this), (*queries, exp.Table)
        ):
            raise _UnreadableError
        if isinstance(node, exp.Table):
            table = _table(node, dialect)
            if table and not (len(table) == 1 and table[0] in visible):
                tables.add(table)
        elif isinstance(node, exp.Func) and (name := _unsure(node)) is not None:
            functions.add(name)
        defined = node.args.get("with_")
        if defined is not None:
            visible = _define(defined, visible, todo, dialect)
        todo.extend((each, visible) for each in node.iter_expressions() if each is not defined)
    return _Query(frozenset(tables), frozenset(functions) - _COMPUTING[dialect])


def _define(
    defined: "exp.Expr",
    visible: frozenset[str],
    todo: "list[tuple[exp.Expr, frozenset[str]]]",
    dialect: Dialect,
) -> frozenset[str]:
    """The names that a query sees under its WITH; what defines each is put down to be read.

    A name is visible to what comes after it, and to itself where the WITH is recursive. To all
    others the same name is a real table.
    """
    for each in defined.expressions:
        alias = each.args["alias"].this
        name = _identifier(alias, dialect)
        within = visible | {name} if defined.args.get("recursive") else visible
        todo.append((each, within))
        visible = visible | {name}
    return visible


def _bare(node: Any) -> Any:
    """What stands in a pair of parentheses, however many there are."""
    from sqlglot import exp

    while isinstance(node, exp.Subquery | exp.Paren):
        node = node.this
    return node


def _table(node: "exp.Table", dialect: Dialect) -> tuple[str, ...] | None:
    """The name of a table, None where a function or a list of them stands in its place."""
    from sqlglot import exp

    if isinstance(node.this, exp.Func) or (node.this is None and node.args.get("rows_from")):
        return None
    parts = [node.args.get("catalog"), node.args.get("db"), node.this]
    named = [part for part in parts if part]
    if not all(isinstance(part, exp.Identifier) for part in named) or not named:
        raise _UnreadableError
    return tuple(_identifier(part, dialect) for part in named)


def _identifier(node: Any, dialect: Dialect) -> str:
    name = str(node.this)
    if dialect == "postgres":
        return name if node.args.get("quoted") else name.lower()
    return _stored(name, dialect)


def _stored(name: str, dialect: Dialect) -> str:
    """A name as the database keeps it. To SQLite, case makes no difference even in quotes."""
    return name.lower() if dialect == "sqlite" else name


def _unsure(node: "exp.Func") -> str | None:
    """The name of a function that is not known to be harmless, None for one that is."""
    from sqlglot import exp

    if type(node).__name__ in _KNOWN_HARMLESS:
        return None
    if not isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        return str(node.sql_name()).lower()
    called = node.this
    quoted = isinstance(called, exp.Identifier) and called.args.get("quoted")
    name = str(called.this if isinstance(called, exp.Identifier) else called)
    name = name if quoted else name.lower()
    parent = node.parent
    if isinstance(parent, exp.Dot) and parent.expression is node:
        return f"{parent.this.sql().lower()}.{name}"
    if isinstance(parent, exp.Table):
        # `FROM schema.function()`
        return ".".join((*(part.name.lower() for part in parent.parts[:-1]), name))
    return name

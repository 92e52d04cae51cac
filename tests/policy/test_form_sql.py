"""`sql`: text that is one query, and only reads what it may."""

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.making import call, decide, error, of, said, text
from saferun.policy.form import FORMS, sql
from saferun.policy.matcher import Matcher

SHOP = {"tables": ["orders", "shop.customers"], "functions": ["tax", "shop.rate"]}


def readings(query, dialect="postgres", **said):
    form = {"dialect": dialect, "read_only": True, **(said or SHOP)}
    matcher = Matcher({"type": "string", "sql": form})
    return matcher.admits(query, floats=False), matcher.catches(query, floats=False)


READS, UNCLEAR, OTHER = (True, True), (False, True), (False, False)
"""Let through and caught; refused and caught as well; a clear query of something else."""


@pytest.mark.parametrize(
    "query",
    [
        "select 1",
        "SELECT * FROM Orders;",
        "(select a from orders)",
        "values (1, 'a'), (2, 'b')",
        "select count(*), sum(total), lower(name) from orders group by 3 having count(*) > 1",
        "select a from orders union all select b from shop.customers order by 1 limit 5",
        "select o.a from orders o join shop.customers c on o.c = c.id where c.n like 'a;b%'",
        "with big as (select * from orders where total > 5) select * from big",
        "with a as (select 1), b as (select * from a) select * from b",
        "with recursive n as (select 1 as i union all select i + 1 from n) select * from n",
        "select tax(total), shop.rate(1), TAX(2) from orders",
        "select case when total > 5 then 'x' else 'y' end from orders",
        "select * from orders where id in (select id from shop.customers)",
        "select a::int, cast(b as text), now() - interval '1 day' from orders",
        "select data->>'a', data#>'{b}' from orders",
        "select * from orders\n\twhere name = 'O''Hara'\r\n",
        "select row_number() over (partition by a order by b) from orders",
        "select * from generate_series(1, 5) g",
        "select * from only orders",
    ],
)
def test_a_query_of_what_may_be_read_fits(query):
    assert readings(query) == READS


@pytest.mark.parametrize(
    "query",
    [
        "select * from secret",
        "select * from public.orders",
        "select * from customers",
        'select * from "Orders"',
        "select * from orders, secret",
        "select 1 union select 2 from secret",
        "select (select max(a) from secret) from orders",
        "select * from orders where exists (select 1 from secret)",
        "select * from lateral (select * from secret) x",
        "select 1 from orders order by (select a from secret)",
        # A name that a WITH defines hides a table only where it is visible
        "with secret as (select * from secret) select * from secret",
        "select * from (with secret as (select 1) select * from secret) x, secret",
        "with a as (select * from b), b as (select 1) select * from a",
        "with orders as (select 1) select * from (select * from secret) x",
        'with secret as (select 1) select * from "Secret"',
        "with secret as (select 1) select * from shop.secret",
        # Functions that nobody knows, and those that wait, write, load or look elsewhere
        "select pg_sleep(10)",
        "select pg_catalog.pg_sleep(10)",
        'select "pg_sleep"(10)',
        'select "TAX"(1)',
        "select other.tax(1)",
        "select nextval('s')",
        "select setval('s', 1)",
        "select set_config('a', 'b', false)",
        "select current_setting('a')",
        "select pg_read_file('/etc/passwd')",
        "select * from pg_read_file('/etc/passwd')",
        "select * from rows from (pg_ls_dir('/'))",
        "select lo_import('/etc/passwd')",
        "select dblink('host=evil', 'select 1')",
        "select query_to_xml('select * from secret', true, true, '')",
        "select pg_terminate_backend(1)",
        "select read_csv('/etc/passwd')",
        "select txid_current()",
        "select pg_advisory_lock(1)",
    ],
)
def test_a_query_of_anything_else_is_neither_let_through_nor_caught(query):
    assert readings(query) == OTHER


@pytest.mark.parametrize(
    "query",
    [
        "",
        ";",
        "delete from orders",
        "update orders set a = 1",
        "insert into orders values (1)",
        "drop table orders",
        "truncate orders",
        "select 1; select 2",
        "select 1; drop table orders",
        "select * into copied from orders",
        "select * from orders for update",
        "select * from (select * from orders for share) x",
        "with gone as (delete from orders returning *) select * from gone",
        "with a as (insert into orders values (1) returning *) select * from a",
        "with a as (select 1) delete from orders",
        "merge into orders using x on true when matched then delete",
        "copy orders to stdout",
        "explain analyze delete from orders",
        "explain select 1",
        "set role admin",
        "call tax()",
        "do $$ begin delete from orders; end $$",
        "prepare p as select 1",
        "execute p",
        "begin",
        "vacuum",
        "lock table orders",
        "notify a",
        "table secret",
        "show all",
        "select 1 operator(public.+) 2",
        # Comments, which servers end and execute differently
        "select 1 -- a",
        "select /* a */ 1",
        "select 1 /* /* */ from secret -- */",
        "/*! drop table orders */ select 1",
        # What not all readers take for the same text
        "select 'a\\' from secret --'",
        "select E'\\'', 1",
        'select * from U&"\\0073ecret"',
        "select 1\0",
        "select\u00a01",
        "select 1 from\u3000orders",
        # What is no SQL at all
        "hello",
        "select from where",
        "select (1",
    ],
)
def test_what_is_not_one_clear_query_is_refused_and_caught(query):
    assert readings(query) == UNCLEAR


@pytest.mark.parametrize(
    "query",
    [
        "select * from orders into outfile '/tmp/x'",
        "select a into @b from orders",
        "select @a := 1",
        "select 1 # a",
        "select 1 /*! into outfile '/tmp/x' */",
        "select 1 /*!50000 union select * from secret */",
        "select /*+ set_var(sql_mode='') */ 1",
        "select * from orders lock in share mode",
        "select * from orders procedure analyse()",
        "load data infile 'x' into table orders",
        "handler orders open",
        "select 'a\\' or 1 -- '",
    ],
)
def test_mysql_s_ways_of_writing_do_not_fit(query):
    assert readings(query, "mysql") == UNCLEAR


@pytest.mark.parametrize(
    "query",
    [
        "select sleep(5)",
        "select benchmark(1000000, md5('a'))",
        "select load_file('/etc/passwd')",
        "select get_lock('a', 10)",
        "select * from Orders",
        "select * from mysql.user",
    ],
)
def test_mysql_s_functions_and_names_are_known(query):
    assert readings(query, "mysql") == OTHER


@pytest.mark.parametrize(
    "query",
    [
        "pragma writable_schema = 1",
        "attach database 'x' as y",
        "vacuum into 'x'",
        "replace into orders values (1)",
        "reindex",
    ],
)
def test_sqlite_s_ways_of_writing_do_not_fit(query):
    assert readings(query, "sqlite") == UNCLEAR


@pytest.mark.parametrize(
    "query",
    [
        "select load_extension('x')",
        "select readfile('/etc/passwd')",
        "select writefile('x', 'y')",
        "select * from pragma_table_info('orders')",
        "select fts3_tokenizer('a')",
        "select * from sqlite_master",
        "select * from [secret]",
        "select * from 'secret'",
        "select * from `secret`",
    ],
)
def test_sqlite_s_functions_and_names_are_known(query):
    assert readings(query, "sqlite") == OTHER


def test_sqlite_makes_no_difference_between_cases():
    assert readings('select * from "ORDERS"', "sqlite") == READS


@pytest.mark.parametrize(
    ("dialect", "query"),
    [
        ("postgres", "select age(a), date_trunc('day', a), to_jsonb(b), unnest(c) from orders"),
        ("postgres", "select now() at time zone 'UTC', string_agg(a, ','), a ~ 'b' from orders"),
        ("mysql", "select ifnull(a, 1), date_format(now(), '%Y'), json_unquote(b) from orders"),
        ("sqlite", "select datetime('now'), printf('%d', a), json_extract(b, '$.c') from orders"),
    ],
)
def test_functions_that_only_compute_need_not_be_listed(dialect, query):
    assert readings(query, dialect) == READS


@pytest.mark.parametrize("dialect", ["mysql", "sqlite"])
def test_a_function_of_another_database_is_somebody_s_own_in_this_one(dialect):
    assert readings("select to_tsvector('a')", dialect) == OTHER


def test_without_tables_any_may_be_read_and_still_no_function_called():
    assert readings("select * from anything", "postgres", read_only=True) == READS
    assert readings("select pg_sleep(1)", "postgres", read_only=True) == OTHER


@pytest.mark.parametrize(
    "query",
    [
        "select " + "(" * 3_000 + "1" + ")" * 3_000,
        "select " + "array[" * 40 + "1" + "]" * 40,
        "select " + "struct(" * 30 + "1" + ")" * 30,
        "select " + "decimal(" * 30 + "1" + ")" * 30,
        "select " + "case when " * 500 + "1" + " then 1 end" * 500,
        "select " + "not " * 4_000 + "true",
        "select " + "- " * 4_000 + "1",
        "select " + "+".join(["1"] * 6_000),
        "select '" + "x" * 20_000 + "'",
        "select * from " + "(select * from " * 200 + "orders" + ") x" * 200,
        "select " + "(" * 5_000,
        "select '" + "''" * 5_000,
        "with " * 4_000,
    ],
    ids=lambda query: query[7:20],
)
def test_what_would_take_long_to_parse_does_not_fit(query):
    assert readings(query) == UNCLEAR


def test_a_few_brackets_inside_each_other_are_still_read():
    assert readings("select " + "array[" * 6 + "1" + "]" * 6) == READS


def test_a_rule_that_stops_stops_what_it_cannot_read():
    rules = "- {id: look, ask: true, args: {q: {not: {sql: {dialect: sqlite}}}}}"
    tool = "args: {q: {type: string}}"
    assert decide(rules, {"q": "select 1"}, tool=tool).verdict == "allow"
    for query in ("delete from a", "not sql", "select 1; select 2"):
        assert decide(rules, {"q": query}, tool=tool).verdict == "ask"


def test_a_denial_says_what_a_query_may_read():
    form = "{dialect: postgres, read_only: true, tables: [orders, customers], functions: [tax]}"
    ruling = of(f"q: {{type: string, sql: {form}}}").decide(call({"q": "drop table orders"}))
    assert said(ruling) == (
        "q must be one postgres query that only reads from orders, customers, without comments; "
        "besides common functions it may call tax"
    )


def test_a_denial_says_no_more_than_the_policy_does():
    ruling = of("q: {type: string, sql: {dialect: sqlite}}").decide(call({"q": "drop table a"}))
    assert said(ruling) == "q must be one sqlite query that only reads, without comments"


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{type: integer, sql: {dialect: mysql}}", "`sql` is about text"),
        ("{type: string, sql: true}", "expected a mapping such as `{dialect: postgres"),
        ("{type: string, sql: {}}", "a `dialect` is one of postgres, mysql, sqlite; found nothing"),
        ("{type: string, sql: {dialect: postgre}}", "did you mean `postgres`?"),
        ("{type: string, sql: {dialect: mysql, read_only: false}}", "only queries can be checked"),
        ("{type: string, sql: {dialect: mysql, table: [a]}}", "did you mean `tables`?"),
        ("{type: string, sql: {dialect: mysql, tables: []}}", "expected a list of the names of"),
        ("{type: string, sql: {dialect: mysql, tables: [a b]}}", "expected the names of tables"),
        ("{type: string, sql: {dialect: mysql, functions: ['f()']}}", "the names of functions"),
    ],
)
def test_what_is_wrong_with_a_form_is_told(schema, fault):
    assert fault in error(text(f"args: {{a: {schema}}}\n"))


def test_without_the_parser_a_policy_that_needs_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sql, "find_spec", lambda name: None)
    message = error(text("args: {a: {type: string, sql: {dialect: mysql}}}\n"))
    assert 'run `pip install "saferun-sdk[sql]"`' in message


def test_every_name_that_is_refused_or_known_is_one_of_the_parser_s():
    from sqlglot import exp

    assert not [name for name in sql._KNOWN_HARMLESS if not hasattr(exp, name)]
    assert len([name for name in sql._REFUSED.split() if hasattr(exp, name)]) > 30


# SQLite itself says what a query did, and has to agree that it only read what it may.

WORDS = """select from where with as recursive union all values ( ) ( ) , , * 1 'a' a b orders
    secret x orders secret "secret" [secret] `orders` main.secret main.orders temp.x join on exists
    in not delete insert into update set drop table ; -- /* */ order by limit returning replace
    abs( max( load_extension( upper( pragma_table_list( count(*) = . case when then end "orders"
    'secret' pragma attach distinct group having over window materialized indexed"""
words = st.sampled_from(WORDS.split())
templates = st.sampled_from(
    [
        "select * from {}",
        "select {} from orders",
        "with x as (select {}) select * from x",
        "with secret as (select {}) select * from secret",
        "with orders as (select * from {}) select * from orders",
        "select * from (with secret as (select 1) select * from secret) q, {}",
        "with recursive x(a) as (select 1 union all select a from x, {} limit 3) select * from x",
        "select * from orders where {}",
        "select (select {}) from orders",
        "{}",
        "select 1 {}",
        "values ({})",
        "with a as (select 1), b as (select * from {}) select * from b, a",
    ]
)
queries = st.builds(
    lambda template, parts: template.format(" ".join(parts)), templates, st.lists(words, max_size=6)
)


def done_by_sqlite(query):
    """What SQLite was asked to do: (what, the table's name) for each thing; None for no SQL."""
    with sqlite3.connect(":memory:") as database:
        database.executescript("create table orders (a, b); create table secret (a, b)")
        done = set()

        def note(action, first, second, *_):
            done.add((action, first, second))
            return sqlite3.SQLITE_OK

        database.set_authorizer(note)
        try:
            database.execute(f"explain {query}")
        except (sqlite3.Error, sqlite3.Warning):
            return None
        finally:
            database.set_authorizer(None)
    database.close()
    return done


def agrees_with_sqlite(query):
    if readings(query, "sqlite", tables=["orders", "main.orders"])[0]:
        done = done_by_sqlite(query) or set()
        permitted = {
            sqlite3.SQLITE_SELECT,
            sqlite3.SQLITE_READ,
            sqlite3.SQLITE_FUNCTION,
            sqlite3.SQLITE_RECURSIVE,
        }
        assert {action for action, *_ in done} <= permitted, query
        read = {table for action, table, _ in done if action == sqlite3.SQLITE_READ}
        assert "secret" not in read, query
        called = {name for action, _, name in done if action == sqlite3.SQLITE_FUNCTION}
        assert called <= {"abs", "max", "upper", "count"}, query


@settings(max_examples=400)
@given(queries)
def test_what_is_let_through_is_what_sqlite_takes_for_a_read_of_the_listed_tables(query):
    agrees_with_sqlite(query)


@pytest.mark.soak
@settings(max_examples=50_000, deadline=None)
@given(queries)
def test_sqlite_agrees_on_a_great_many_queries(query):
    agrees_with_sqlite(query)


def test_the_differential_test_would_see_a_query_that_does_more():
    assert ("secret" in {table for _, table, _ in done_by_sqlite("select * from secret")}) is True
    assert sqlite3.SQLITE_DELETE in {each for each, *_ in done_by_sqlite("delete from orders")}


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 'x' IN secret",
        "SELECT * FROM orders WHERE id NOT IN main.secret",
        "SELECT * FROM orders WHERE (a, b) IN secret",
        'SELECT * FROM orders WHERE a IN "secret"',
        "SELECT sum(x) FILTER (WHERE x IN secret) FROM orders",
    ],
)
def test_a_table_that_in_names_is_a_table(query):
    form = FORMS["sql"]({"dialect": "sqlite", "tables": ["orders"]})
    assert not form.holds(query, exactly=True)

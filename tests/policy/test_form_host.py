"""`email` and `url`: who is reached, whatever the spelling."""

import email.utils
import re
import urllib.parse
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.making import call, decide, error, of, said, text
from saferun.policy.form.host import skeleton, spelled
from saferun.policy.form.lookalike import bones
from saferun.policy.form.url import parsed
from saferun.policy.matcher import Matcher


def readings(form, value):
    matcher = Matcher({"type": "string", **form})
    return matcher.admits(value, floats=False), matcher.catches(value, floats=False)


MAIL = {"email": {"domains": ["acme.com", "*.corp.acme.com", "münchen.de"]}}
WEB = {"url": {"domains": ["acme.com", "*.acme.com", "münchen.de"]}}

THEIRS, LOOKS_LIKE, OTHER = (True, True), (False, True), (False, False)
"""Let through and caught; only caught; neither."""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("a@acme.com", THEIRS),
        ("a.b+tag@ACME.Com", THEIRS),
        ("a@acme.com.", THEIRS),
        ("a@x.corp.acme.com", THEIRS),
        ("a@MÜNCHEN.de", THEIRS),
        ("a@xn--mnchen-3ya.de", THEIRS),
        ("a@acme。com", THEIRS),
        ("a@evil.com", OTHER),
        ("a@corp.acme.com", OTHER),
        ("a@sub.acme.com", OTHER),
        ("a@notacme.com", OTHER),
        ("a@acme.com.evil.com", OTHER),
        ("a@acme.co", OTHER),
        # Look-alikes
        ("a@аcme.com", LOOKS_LIKE),
        ("a@xn--cme-5cd.com", LOOKS_LIKE),
        ("a@acrne.com", LOOKS_LIKE),
        ("a@acmé.com", LOOKS_LIKE),
        ("a@munchen.de", LOOKS_LIKE),
        # What has more than one reading
        ("Alice <a@acme.com>", LOOKS_LIKE),
        ("a@acme.com (Alice)", LOOKS_LIKE),
        ('"a@evil.com"@acme.com', LOOKS_LIKE),
        ("a@evil.com@acme.com", LOOKS_LIKE),
        ("a＠evil.com@acme.com", LOOKS_LIKE),
        ("a%evil.com@acme.com", LOOKS_LIKE),
        ("evil.com!a@acme.com", LOOKS_LIKE),
        ("a@evil.com,b@acme.com", LOOKS_LIKE),
        ("a@evil.com;b@acme.com", LOOKS_LIKE),
        ("a@acme.com\nBcc: b@evil.com", LOOKS_LIKE),
        ("a@acme.com\0", LOOKS_LIKE),
        (" a@acme.com", LOOKS_LIKE),
        ("a@acme\u200b.com", LOOKS_LIKE),
        ("a@ac\u00adme.com", LOOKS_LIKE),
        ("a@acme.com..", LOOKS_LIKE),
        ("a@.acme.com", LOOKS_LIKE),
        ("a@[192.0.2.1]", LOOKS_LIKE),
        ("a@192.0.2.1", LOOKS_LIKE),
        ("-oQ/tmp@acme.com", LOOKS_LIKE),
        ("a..b@acme.com", LOOKS_LIKE),
        ("mailto:a@acme.com", LOOKS_LIKE),
        (f"{'a' * 65}@acme.com", LOOKS_LIKE),
        ("@acme.com", LOOKS_LIKE),
        ("acme.com", LOOKS_LIKE),
        ("", LOOKS_LIKE),
    ],
)
def test_an_address_is_at_a_domain_or_might_be_or_is_not(address, expected):
    assert readings(MAIL, address) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acme.com", THEIRS),
        ("HTTPS://ACME.com./a/b?c=d#e", THEIRS),
        ("https://acme.com:443/", THEIRS),
        ("https://a.b.acme.com/x", THEIRS),
        ("https://MÜNCHEN.de/straße", THEIRS),
        ("https://acme.com/a@b:c", THEIRS),
        ("https://evil.com", OTHER),
        ("https://evil.com/acme.com", OTHER),
        ("https://evil.com?x=https://acme.com", OTHER),
        ("https://evil.com#@acme.com", OTHER),
        ("https://evilacme.com", OTHER),
        ("https://acme.com.evil.com", OTHER),
        # Where it goes is right, and how it goes is not
        ("http://acme.com", LOOKS_LIKE),
        ("https://acme.com:8443/", LOOKS_LIKE),
        ("javascript://acme.com/%0aalert(1)", LOOKS_LIKE),
        # Look-alikes
        ("https://аcme.com", LOOKS_LIKE),
        ("https://evil.аcme.com", LOOKS_LIKE),
        # What has more than one reading
        ("https://acme.com@evil.com", LOOKS_LIKE),
        ("https://user:pw@acme.com", LOOKS_LIKE),
        ("https://acme.com\\@evil.com", LOOKS_LIKE),
        ("https://evil.com\\.acme.com", LOOKS_LIKE),
        ("https:\\\\acme.com", LOOKS_LIKE),
        ("https:/acme.com", LOOKS_LIKE),
        ("https:///acme.com", LOOKS_LIKE),
        ("https:acme.com", LOOKS_LIKE),
        ("//acme.com", LOOKS_LIKE),
        ("acme.com", LOOKS_LIKE),
        ("https://acme%2ecom", LOOKS_LIKE),
        ("https://evil.com%2f.acme.com", LOOKS_LIKE),
        ("https://evil.com／.acme.com", LOOKS_LIKE),
        ("https://evil℀.acme.com", LOOKS_LIKE),
        ("https://ac\tme.com", LOOKS_LIKE),
        ("https://acme.com\n", LOOKS_LIKE),
        (" https://acme.com", LOOKS_LIKE),
        ("https://acme.com /", LOOKS_LIKE),
        ("https://acme.com:", LOOKS_LIKE),
        ("https://acme.com:0443", LOOKS_LIKE),
        ("https://acme.com:443:443", LOOKS_LIKE),
        ("https://acme.com:99999", LOOKS_LIKE),
        ("https://ß.acme.com", LOOKS_LIKE),
        ("https://a_b.acme.com", LOOKS_LIKE),
        ("https://-a.acme.com", LOOKS_LIKE),
        # Addresses, in all the ways that resolvers take them
        ("https://192.0.2.1", LOOKS_LIKE),
        ("https://[::1]/", LOOKS_LIKE),
        ("https://2130706433", LOOKS_LIKE),
        ("https://0x7f.1", LOOKS_LIKE),
        ("https://0177.0.0.1", LOOKS_LIKE),
        ("https://１２７.0.0.1", LOOKS_LIKE),
        ("https://[::ffff:127.0.0.1]", LOOKS_LIKE),
        ("https://[fe80::1%25eth0]", LOOKS_LIKE),
    ],
)
def test_a_url_leads_to_a_domain_or_might_or_does_not(url, expected):
    assert readings(WEB, url) == expected


@pytest.mark.parametrize("address", ["a@acme.com", "a.b@x.y.example", "a@münchen.de"])
def test_without_domains_only_the_form_of_an_address_counts(address):
    assert readings({"email": {}}, address)[0]


@pytest.mark.parametrize(
    "address", ["a@localhost", "a", "a@b@c.com", "A <a@acme.com>", "a@1.2.3.4"]
)
def test_what_is_no_plain_address_has_no_form(address):
    assert not readings({"email": {}}, address)[0]


def test_a_single_host_takes_mail_where_it_is_listed():
    assert readings({"email": {"domains": ["localhost"]}}, "a@localhost")[0]


def test_without_domains_a_url_names_its_host():
    assert readings({"url": {}}, "https://anything.example/x")[0]
    assert not readings({"url": {}}, "https://192.0.2.1/x")[0]


def test_an_address_literal_is_reached_where_it_is_listed_in_whatever_form():
    form = {"url": {"domains": ["192.0.2.1", "[2001:DB8:0::1]"]}}
    assert readings(form, "https://192.0.2.1/")[0]
    assert readings(form, "https://[2001:db8::1]/")[0]
    assert not readings(form, "https://192.0.2.2/")[0]
    assert not readings(form, "https://3221225985/")[0]


def test_schemes_and_ports_are_those_that_are_listed():
    form = {"url": {"domains": ["acme.com"], "schemes": ["https", "http"], "ports": [80, 8443]}}
    assert readings(form, "http://acme.com")[0]
    assert readings(form, "https://acme.com:8443")[0]
    assert not readings(form, "https://acme.com")[0]
    assert readings(form, "https://acme.com")[1] is False
    assert not readings(form, "ftp://acme.com")[1]


def test_a_rule_that_names_no_scheme_stops_every_one():
    rules = "- {id: no-evil, deny: true, args: {to: {url: {domains: [evil.com]}}}}"
    tool = "args: {to: {type: string}}"
    for url in ("https://evil.com", "http://evil.com:8080", "ws://EVIL.com", "evil.com", "x"):
        assert decide(rules, {"to": url}, tool=tool).verdict == "deny"
    assert decide(rules, {"to": "https://good.example"}, tool=tool).verdict == "allow"


def test_a_rule_that_allows_is_not_met_by_a_look_alike():
    rules = "- {id: ours, allow: true, args: {to: {email: {domains: [acme.com]}}}}"
    tool = "args: {to: {type: string}}\ndefault: deny"
    assert decide(rules, {"to": "a@acme.com"}, tool=tool).verdict == "allow"
    assert decide(rules, {"to": "a@аcme.com"}, tool=tool).verdict == "deny"


def test_every_item_of_a_list_is_looked_at():
    policy = of("to: {type: array, items: {type: string, email: {domains: [acme.com]}}}")
    assert policy.decide(call({"to": ["a@acme.com", "b@acme.com"]})).verdict == "allow"
    ruling = policy.decide(call({"to": ["a@acme.com", "b@evil.com"]}))
    assert said(ruling) == "to[1] must be one plain e-mail address at acme.com"


def test_a_denial_says_where_a_url_may_lead():
    policy = of("at: {type: string, url: {domains: [acme.com, '*.acme.com'], ports: [443]}}")
    ruling = policy.decide(call({"at": "https://evil.com"}))
    assert said(ruling) == "at must be one https URL at acme.com or *.acme.com on port 443"


@pytest.mark.parametrize(
    ("form", "what"),
    [
        ("email: {}", "one plain e-mail address"),
        ("url: {}", "one https URL"),
        ("url: {schemes: [https, http]}", "one https or http URL"),
        ("url: {ports: [443, 8443]}", "one https URL on port 443 or 8443"),
    ],
)
def test_a_denial_says_what_the_form_asks_for_and_no_more(form, what):
    assert said(of(f"a: {{type: string, {form}}}").decide(call({"a": "?"}))) == f"a must be {what}"


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ("{email: {domains: [a.com]}}", "`email` is about text"),
        ("{type: string, email: true}", "expected a mapping such as `{domains: [acme.com]}`"),
        ("{type: string, email: {domain: [a.com]}}", "did you mean `domains`?"),
        ("{type: string, email: {domains: []}}", "expected a list of domains"),
        ("{type: string, email: {domains: acme.com}}", "expected a list of domains"),
        ("{type: string, email: {domains: [5]}}", "expected domains; found the number 5"),
        ("{type: string, email: {domains: [a.com, a.com]}}", "`a.com` stands here twice"),
        ("{type: string, email: {domains: ['*']}}", "leave `domains` out"),
        ("{type: string, email: {domains: ['192.0.2.1']}}", "mail goes to a host by its name"),
        ("{type: string, email: {domains: ['@acme.com']}}", "expected a host such as `acme.com`"),
        ("{type: string, url: {domains: ['https://a.com']}}", "without scheme, port or path"),
        ("{type: string, url: {domains: ['a*.com']}}", "expected a host such as"),
        ("{type: string, url: {domains: ['*.192.0.2.1']}}", "no host below an address"),
        ("{type: string, url: {domains: ['straße.de']}}", "write its `xn--` form"),
        ("{type: string, url: {schemes: [HTTPS]}}", "a word in small letters"),
        ("{type: string, url: {ports: [70000]}}", "from 1 to 65535"),
        ("{type: string, url: {ports: 443}}", "expected a list of ports"),
        ("{type: string, url: {port: [443]}}", "did you mean `ports`?"),
    ],
)
def test_what_is_wrong_with_a_form_is_told(schema, fault):
    assert fault in error(text(f"args: {{a: {schema}}}\n"))


labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True, alphabet=None)
hosts = st.lists(labels, min_size=2, max_size=4).map(".".join)
hostile = st.lists(
    st.sampled_from([*"ab.@/\\:%?#[]()<>, ;'\"\t\n\0aé0０．。／＠", "\u200b", "acme.com", "//"]),
    max_size=14,
).map("".join)


@given(hostile | st.text(max_size=20))
def test_a_host_has_one_spelling_and_keeps_it(host):
    once = spelled(host)
    if once is not None:
        assert spelled(once) == once
        assert once.isascii()
        assert once == once.lower()
        assert not re.search(r"[^a-z0-9.:\[\]-]", once)


@given(hosts)
def test_case_and_the_last_dot_make_no_other_host(host):
    assert spelled(f"{host.upper()}.") == spelled(host)


@given(hostile)
def test_python_s_own_parser_of_urls_finds_the_host_that_was_let_through(rest):
    url = f"https://{rest}"
    place = parsed(url)
    if place is not None:
        theirs = urllib.parse.urlsplit(url)
        assert spelled(theirs.netloc.removesuffix(f":{theirs.port}")) == place.host
        assert theirs.username is None
        assert (theirs.port or 443) == place.port


@given(hostile)
def test_python_s_own_parser_of_addresses_finds_the_address_that_was_let_through(rest):
    address = f"a{rest}@acme.com"
    if readings(MAIL, address)[0]:
        assert email.utils.parseaddr(address) == ("", address)
        assert email.utils.getaddresses([address]) == [("", address)]


@given(hostile, st.sampled_from(["{}", "a@{}", "https://{}", "https://acme.com{}", "{}acme.com"]))
def test_whatever_is_let_through_is_caught_as_well(rest, around):
    for form in (MAIL, WEB, {"email": {}}, {"url": {}}):
        admitted, caught = readings(form, around.format(rest))
        assert caught >= admitted


@pytest.mark.parametrize(
    "alike", ["".join(each) for each in product("pр", "aа", "y", "pр", "aа", "l1I")]
)
def test_look_alikes_have_one_skeleton(alike):
    assert bones(f"{alike}.com") == bones("paypal.com")


@given(hosts)
def test_a_host_is_let_through_where_it_is_listed(host):
    assert readings({"url": {"domains": [host]}}, f"https://{host}/")[0] == (
        spelled(host) is not None
    )
    assert readings({"url": {"domains": [f"x.{host}"]}}, f"https://{host}/")[0] is False


def test_a_skeleton_sees_through_punycode():
    assert skeleton("xn--cme-5cd.com") == skeleton("acme.com")

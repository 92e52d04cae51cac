"""The card of a request: who asks for what, for whom, why, and how it stands.

Pure. Slack takes no more than 50 blocks and about 13,200 characters in a message, and refuses
one that is longer whole; so a card is cut well before that. Where an argument would be cut,
there is no button to approve: nobody approves what they cannot see.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from saferun.approval import Question, Request, Vote, inert, kind, others, spelled
from saferun.call import Demand
from saferun.channel.slack.buttons import buttons, link
from saferun.channel.slack.mark import DIGEST
from saferun.channel.slack.text import (
    NAME,
    Block,
    Element,
    brief,
    cut,
    lines,
    moment,
    plain,
    rich,
    row,
    said,
    words,
)
from saferun.channel.storm import Digest, Line

ARGUMENTS = 4_500
"""Characters of all arguments together; with the rest, a card stays under 10,000."""

_MANY = 30
"""Arguments of a card."""

_CUT = 1_000
"""Characters of an argument that does not fit."""

_REASONS, _REASON, _MEASURE, _SEEN = 4, 200, 150, 2
_PROMPT, _PLAN, _STEPS = 500, 900, 12
_VOTES = 8
_MENTIONS = 20
_ALARMED = 150


class Card(NamedTuple):
    """A message: its blocks, and the text of the notification."""

    text: str
    blocks: list[Block]


def whole(request: Request) -> bool:
    """Whether the card shows every argument as it is, so that it may be approved there."""
    args = request.question.args
    if not request.whole or len(args) > _MANY or any(map(_is_long, args)):
        return False
    left = ARGUMENTS
    for name, value in args.items():
        shown = _fitting(spelled(value), left - len(name))
        if shown is None:
            return False
        left -= len(name) + len(shown)
    return True


def _is_long(name: str) -> bool:
    return len(name) > NAME or len(inert(name)) > NAME


def _fitting(text: str, left: int) -> str | None:
    """Text made visible, None where that takes more characters than are left."""
    if len(text) > left:
        return None
    shown = lines(text)
    return shown if len(shown) <= left else None


def card(
    request: Request,
    *,
    asked: frozenset[str] | None,
    mentions: Mapping[str, str],
    url: str | None,
    glass: bool = False,
) -> Card:
    """The card of a request as it stands.

    `asked` are the persons whom it is for by now, None for anybody who is known, and `mentions`
    the Slack ids of those who have one. `url` is where the whole is shown. With `glass`, there
    are people who may break it.
    """
    question = request.question
    tool = brief(question.tool, NAME)
    shown = whole(request)
    blocks: list[Block] = [
        {"type": "header", "text": plain(f"{tool} {_headline(request)}", 150)},
    ]
    if request.open:
        blocks += _for(asked, mentions, _MENTIONS)
    blocks += [
        rich(_facts(request)),
        rich(_arguments(question)),
    ]
    context = _context(question)
    if context:
        blocks.append(rich(context))
    if request.open and not shown:
        blocks.append(_not_here(request, url))
    blocks += buttons(request, whole=shown, glass=glass, url=url)
    return Card(cut(_escaped(f"{tool} {_headline(request)}"), 200), blocks)


def alarm(
    request: Request,
    by: Vote,
    *,
    names: frozenset[str],
    mentions: Mapping[str, str],
    url: str | None,
) -> Card:
    """A message of its own to all others: somebody has answered for them, by breaking the glass."""
    question = request.question
    headline = f"🚨 {brief(by.by, NAME)} broke the glass: {brief(question.tool, NAME)}"
    needs = "; ".join(_demanded(each) for each in question.demands[:_REASONS])
    rows = [row("Reason", words(brief(by.reason or "none", 1_000)))]
    if needs:
        rows.append(row("Instead of", words(cut(needs, 400))))
    what = "*One person has answered for all of you.* Nobody has to answer any more."
    blocks: list[Block] = [
        {"type": "header", "text": plain(headline, 150)},
        *_for(names, mentions, _ALARMED),
        {"type": "section", "text": said(f"{what} If this should not have been, speak up now.")},
        rich(rows + _facts(request)),
        rich(_arguments(question)),
    ]
    if url:
        to = f"{url}/requests/{request.id}"
        blocks.append({"type": "actions", "elements": [link("Full context", to)]})
    return Card(cut(_escaped(headline), 200), blocks)


def further(why: str, mentions: Mapping[str, str]) -> Card:
    """A word below a card, to people whom a changed card does not notify."""
    called = " ".join(f"<@{mentions[name]}>" for name in sorted(mentions)[:_MENTIONS])
    text = f"{called} {why}"
    return Card(text, [{"type": "section", "text": said(text)}])


def digest(
    waiting: Digest, *, names: frozenset[str], mentions: Mapping[str, str], url: str | None
) -> Card:
    """One message for the many requests that wait, where a card for each would come too late."""
    text = waiting.said
    if waiting.many > 1:
        text += " Not all have a card here."
    called = " ".join(
        f"<@{mentions[name]}>" for name in sorted(names)[:_MENTIONS] if name in mentions
    )
    where = "" if url or not waiting.many else " `saferun approval list` shows them."
    blocks: list[Block] = [
        {"type": "section", "text": said(f"{called} {text}{where}".strip())},
    ]
    if waiting.lines:
        rows = [row(each.tool, words(_lined(each))) for each in waiting.lines]
        if waiting.left:
            rows.append(row("And", words(f"{waiting.left:,} more")))
        blocks.append(rich(rows))
    if url:
        blocks.append({"type": "actions", "elements": [link("Open the inbox", url)]})
    return Card(text, blocks)


def _lined(line: Line) -> str:
    return " · ".join(part for part in (line.about, line.who) if part) or "no arguments"


# How it stands.


_HEADLINES: Mapping[str, str] = {
    "pending": "asks for approval",
    "approved": "is approved",
    "executing": "is approved and running",
    "succeeded": "was approved and has run",
    "failed": "was approved, and has failed",
    "unknown": "was approved; how it ended is unknown",
    "rejected": "was rejected",
    "expired": "has expired",
    "cancelled": "was withdrawn",
    "stale": "is stale",
}

_ENDS: Mapping[str, str] = {
    "approved": "It may start now, once.",
    "executing": "It is running.",
    "succeeded": "Executed: succeeded.",
    "failed": "Executed: failed.",
    "unknown": "Executed: unknown. Nobody saw how it ended, and it does not run again.",
    "rejected": "It does not run.",
    "expired": "Nobody approved it in time, so it does not run.",
    "cancelled": "Whoever asked no longer waits, so it does not run.",
    "stale": "What was asked about is no longer what would run, so it does not run.",
}


def _headline(request: Request) -> str:
    return _HEADLINES[request.state]


def _facts(request: Request) -> list[Element]:
    question, run = request.question, request.question.run
    rows = _standing(request)
    rows.append(row("Effect", words(_EFFECTS[question.effect])))
    if run is not None:
        who = " for ".join(brief(part, NAME) for part in (run.agent, run.user_id) if part)
        tenant = f", tenant {brief(run.tenant, NAME)}" if run.tenant else ""
        rows.append(row("Agent", words(f"{who or brief(run.run_id, NAME)}{tenant}")))
    for reason in question.reasons[:_REASONS]:
        line = f", line {reason.line}" if reason.line is not None else ""
        told = f"{brief(reason.message, _REASON)} ({brief(reason.id, NAME)}{line})"
        if reason.measure is not None:
            told += f" · {brief(reason.measure.said(), _MEASURE)}"
        for seen in question.why(reason)[:_SEEN]:
            told += f" · {brief(seen, _MEASURE)}"
        rows.append(row("Why", words(told)))
    if len(question.reasons) > _REASONS:
        rows.append(row("Why", words(f"and {len(question.reasons) - _REASONS} more reasons")))
    rules = ""
    if question.policy is not None:
        policy = question.policy
        rules = f"{brief(policy.name, NAME)} {policy.version[:12]} · "
    rows.append(row("Policy", words(f"{rules}digest {question.digest[:DIGEST] or 'none'}")))
    return rows


_EFFECTS: Mapping[str | None, str] = {
    "read": "reads, and changes nothing",
    "write": "changes something",
    "destructive": "cannot be undone",
    None: "the policy does not say what it does",
}


def _standing(request: Request) -> list[Element]:
    rows: list[Element] = []
    if request.open:
        needs = "; ".join(_demanded(each) for each in request.question.demands[:_REASONS])
        rows.append(
            row("Needs", words(cut(needs, 400)), words(" · until "), moment(request.deadline))
        )
    else:
        rows.append(row("Outcome", words(_outcome(request))))
    if request.votes:
        told = ", ".join(_voted(vote) for vote in request.votes[:_VOTES])
        more = f" and {len(request.votes) - _VOTES} more" if len(request.votes) > _VOTES else ""
        rows.append(row("Votes so far" if request.open else "Votes", words(told + more)))
    if request.revision:
        edits = "once" if request.revision == 1 else f"{request.revision} times"
        rows.append(row("Edited", words(f"{edits}; earlier votes do not count")))
    also = others(request)
    if also is not None:
        rows.append(row("Also", words(also)))
    return rows


def _outcome(request: Request) -> str:
    end = _ENDS[request.state]
    by = brief(request.by, NAME) if request.by else None
    if request.state == "rejected":
        reason = f": {brief(request.reason, 500)}" if request.reason else ""
        return f"Rejected by {by or 'somebody'}{reason}. {end}"
    if request.state == "expired" and by:
        return f"Approved by {by}, and not started in time. It does not run."
    if by and request.state in ("approved", "executing", "succeeded", "failed", "unknown"):
        reason = f" ({brief(request.reason, 500)})" if request.reason else ""
        return f"Approved by {by}{reason}. {end}"
    return end


def _voted(vote: Vote) -> str:
    yes = "yes" if vote.approved else "no"
    how = " by breaking the glass" if vote.glass else ""
    return f"{brief(vote.by, NAME)}: {yes}{how} ({brief(vote.channel, 20)})"


def _demanded(demand: Demand) -> str:
    whom = ", ".join(brief(name, NAME) for name in demand.of[:10]) or "anybody who is known"
    return f"{demand.approvals} of {whom}" if demand.of or demand.approvals > 1 else whom


# What would run.


def _arguments(question: Question) -> list[Element]:
    parts: list[Element] = [
        {"type": "rich_text_section", "elements": [words("Arguments", bold=True)]}
    ]
    if not question.args:
        parts.append(_preformatted("(none)"))
    left, shown_of = ARGUMENTS, 0
    for name, value in itertools.islice(question.args.items(), _MANY):
        if left <= 0:
            break
        shown_of += 1
        text = spelled(value)
        left -= len(name)
        shown = _fitting(text, left)
        if shown is None:
            some = max(min(left, _CUT), 0)
            shown = f"{lines(text[:some])[:some]}… ({len(text):,} characters in all)"
        left -= len(shown)
        hidden = ", which is not shown as it is" if name in question.hidden else ""
        about = f" ({kind(value)}{hidden})"
        label = [words(brief(name, NAME), bold=True), words(about)]
        parts.append({"type": "rich_text_section", "elements": label})
        parts.append(_preformatted(shown))
    if len(question.args) > shown_of:
        parts.append(_preformatted(f"… and {len(question.args) - shown_of} more arguments"))
    return parts


def _preformatted(text: str) -> Element:
    return {
        "type": "rich_text_preformatted",
        "elements": [{"type": "text", "text": text or " "}],
    }


def _context(question: Question) -> list[Element]:
    run = question.run
    parts: list[Element] = []
    if run is not None and run.prompt:
        parts += _quoted("What the user asked", cut(lines(run.prompt[: _PROMPT + 1]), _PROMPT))
    if run is not None and run.plan:
        label = "The plan, in the agent's own words, which nobody has checked"
        parts += _quoted(label, cut(_planned(run.plan), _PLAN))
    return parts


def _quoted(label: str, text: str) -> list[Element]:
    return [
        {"type": "rich_text_section", "elements": [words(label, bold=True)]},
        {"type": "rich_text_quote", "elements": [{"type": "text", "text": text or " "}]},
    ]


def _planned(plan: Any) -> str:
    """A plan as lines; a list is one of steps."""
    if isinstance(plan, str):
        return lines(plan[: _PLAN + 1])
    if isinstance(plan, Sequence):
        steps = [
            f"{number}. {brief(_step(each), 200)}" for number, each in enumerate(plan[:_STEPS], 1)
        ]
        more = [f"… and {len(plan) - _STEPS} more steps"] if len(plan) > _STEPS else []
        return "\n".join((*steps, *more))
    return inert(msgspec.json.encode(plan).decode()[: _PLAN + 1])


def _step(step: Any) -> str:
    return step if isinstance(step, str) else msgspec.json.encode(step).decode()


# What can be done.


def _for(asked: frozenset[str] | None, mentions: Mapping[str, str], most: int) -> list[Block]:
    names = sorted(asked or ())[:most]
    called = [f"<@{mentions[name]}>" for name in names if name in mentions]
    if not called:
        return []
    return [{"type": "section", "text": said(f"For {' '.join(called)}")}]


def _not_here(request: Request, url: str | None) -> Block:
    if request.question.hidden:
        why = "An argument holds what looks like a secret, and nobody approves what they cannot see"
        return {"type": "section", "text": said(f"⚠ {why}: it can only be rejected or edited.")}
    where = "Open the request to approve it" if url else "`saferun approval show` shows it whole"
    return {
        "type": "section",
        "text": said(f"⚠ Not every argument fits here whole, so it is not approved here. {where}."),
    }


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

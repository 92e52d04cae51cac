"""The names of traces are those that the conventions publish, in the versions that we say."""

import importlib.metadata

from openinference.semconv.trace import MessageAttributes, SpanAttributes, ToolCallAttributes
from opentelemetry.semconv._incubating.attributes import (
    error_attributes,
    gen_ai_attributes,
    user_attributes,
)
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.schemas import Schemas

from saferun import convention


def published(*modules: object) -> set[str]:
    return {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.isupper() and isinstance(value, str)
    }


def ours(beginning: tuple[str, ...]) -> set[str]:
    return {
        value
        for name, value in vars(convention).items()
        if name.isupper() and isinstance(value, str) and value.startswith(beginning)
    }


def test_names_of_opentelemetry_are_those_of_its_conventions() -> None:
    known = published(gen_ai_attributes, error_attributes, user_attributes, gen_ai_metrics)
    assert ours(("gen_ai.", "error.", "user.")) <= known


def test_names_of_openinference_are_those_of_its_conventions() -> None:
    known = published(SpanAttributes, MessageAttributes, ToolCallAttributes)
    known.add("message_content.text")
    assert ours(("openinference.", "session.", "input.", "output.", "llm.", "message")) <= known
    assert ours(("tool.", "tool_call.", "agent.")) <= known


def test_the_versions_are_those_that_the_names_were_held_against() -> None:
    assert Schemas[f"V{convention.SEMCONV.replace('.', '_')}"].value == convention.SCHEMA_URL
    package = "openinference-semantic-conventions"
    assert importlib.metadata.version(package) == convention.OPENINFERENCE

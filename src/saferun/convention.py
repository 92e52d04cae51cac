"""What traces of agents are called elsewhere: the names of two conventions, and our own.

OpenTelemetry's conventions for generative AI are in development and change with most versions,
and OpenInference has others, which its viewers alone read. All that is written to a trace, and
all that is read from one, goes by the names that stand here; nothing else knows any.

Neither has words for policies and approvals, so those stand under `saferun.`.
"""

from typing import Final

SEMCONV: Final = "1.44.0"
"""The version of OpenTelemetry's semantic conventions whose names for generative AI these are.
https://opentelemetry.io/docs/specs/semconv/gen-ai/"""

SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{SEMCONV}"

OPENINFERENCE: Final = "0.1.42"
"""The version of openinference-semantic-conventions whose names these are.
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md"""

# OpenTelemetry.

OPERATION: Final = "gen_ai.operation.name"
AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"
TOOL: Final = "gen_ai.tool.name"
TOOL_TYPE: Final = "gen_ai.tool.type"
CALL_ID: Final = "gen_ai.tool.call.id"
ARGUMENTS: Final = "gen_ai.tool.call.arguments"
RESULT: Final = "gen_ai.tool.call.result"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105 - a name
TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105 - a name
MODEL_DURATION: Final = "gen_ai.client.operation.duration"
ERROR: Final = "error.type"
USER: Final = "user.id"

INVOKE_AGENT: Final = "invoke_agent"
EXECUTE_TOOL: Final = "execute_tool"
CHAT: Final = "chat"
MODEL_OPERATIONS: Final = frozenset(("chat", "text_completion", "generate_content"))
AGENT_OPERATIONS: Final = frozenset(("invoke_agent", "invoke_workflow"))

CONTENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""What other instrumentations of generative AI take content along by."""

# OpenInference.

SPAN_KIND: Final = "openinference.span.kind"
SESSION: Final = "session.id"
AGENT_NAME: Final = "agent.name"
INPUT: Final = "input.value"
INPUT_TYPE: Final = "input.mime_type"
OUTPUT: Final = "output.value"
OUTPUT_TYPE: Final = "output.mime_type"
TOOL_NAME: Final = "tool.name"
TOOL_PARAMETERS: Final = "tool.parameters"
TOOL_CALL_ID: Final = "tool_call.id"
MODEL_NAME: Final = "llm.model_name"
PROMPT_TOKENS: Final = "llm.token_count.prompt"
COMPLETION_TOKENS: Final = "llm.token_count.completion"
COST: Final = "llm.cost.total"
LLM_INPUT: Final = "llm.input_messages"
LLM_OUTPUT: Final = "llm.output_messages"
MESSAGE_ROLE: Final = "message.role"
MESSAGE_CONTENT: Final = "message.content"
MESSAGE_CONTENTS: Final = "message.contents"
MESSAGE_CONTENT_TEXT: Final = "message_content.text"
MESSAGE_TOOL_CALLS: Final = "message.tool_calls"
MESSAGE_TOOL_CALL_ID: Final = "message.tool_call_id"
CALL_NAME: Final = "tool_call.function.name"
CALL_ARGUMENTS: Final = "tool_call.function.arguments"

JSON: Final = "application/json"
TEXT: Final = "text/plain"

# Our own.

RUN: Final = "saferun.run.id"
RUN_PARENT: Final = "saferun.run.parent"
RUN_ROOT: Final = "saferun.run.root"
RUN_OPEN: Final = "saferun.run.open"
TENANT: Final = "saferun.tenant"
CONTEXT: Final = "saferun.run.context"
LEDGER: Final = "saferun.ledger.origin"
DECISION: Final = "saferun.ledger.decision"
OUTCOME: Final = "saferun.ledger.outcome"
ENTRY: Final = "saferun.ledger.entry"
VERDICT: Final = "saferun.verdict"
MODE: Final = "saferun.mode"
MODIFIED: Final = "saferun.modified"
RULES: Final = "saferun.rules"
POLICY: Final = "saferun.policy.name"
POLICY_VERSION: Final = "saferun.policy.version"
STATUS: Final = "saferun.status"
APPROVAL: Final = "saferun.approval.id"
APPROVAL_STATE: Final = "saferun.approval.state"
APPROVAL_BY: Final = "saferun.approval.by"
APPROVAL_WAITED: Final = "saferun.approval.waited"
COST_USD: Final = "saferun.cost_usd"

"""Where a file is made: the versions of what may matter, and nothing about whose machine it is."""

import platform
from importlib import metadata

from saferun.incident.manifest import Environment

PACKAGES = (
    *("anthropic", "cryptography", "httpx", "jsonschema-rs", "langchain-core", "langgraph"),
    *("litellm", "mcp", "msgspec", "openai", "openai-agents", "pydantic", "pydantic-ai"),
    *("ruamel-yaml", "sqlglot"),
)
"""Packages that agents are made with, and those that decide with us."""


def environment() -> Environment:
    """That of this process."""
    return Environment(
        saferun=_version("saferun-sdk") or "unknown",
        python=platform.python_version(),
        system=platform.system(),
        machine=platform.machine(),
        packages={name: found for name in PACKAGES if (found := _version(name)) is not None},
    )


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None

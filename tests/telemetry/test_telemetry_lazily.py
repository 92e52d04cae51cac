"""OpenTelemetry is imported where somebody uses it, and its absence is one sentence."""

import subprocess
import sys

import pytest

from saferun import ConfigError
from saferun.telemetry import instrument


def test_neither_the_console_nor_the_figures_of_a_store_import_opentelemetry() -> None:
    script = (
        "import sys, saferun.telemetry, saferun.console, saferun.replay;"
        "print(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_without_the_extra_a_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.metrics", None)
    with pytest.raises(ConfigError, match=r"pip install 'saferun-sdk\[otel\]'"):
        instrument()

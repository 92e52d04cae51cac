"""A real browser for the console: what it complains of is a failure of the test.

Where no Chromium is installed these tests are skipped, and say so; with SAFERUN_BROWSER=required,
as in `.ci/run`, that is a failure.
"""

import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = os.environ.get("SAFERUN_BROWSER") == "required"

if CHROMIUM is None and REQUIRED:
    raise RuntimeError("SAFERUN_BROWSER is `required`, and there is no Chromium on PATH.")

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on PATH: the console is not tried in a browser"
)

PHONE = {"width": 360, "height": 740}
WIDE = {"width": 1280, "height": 900}

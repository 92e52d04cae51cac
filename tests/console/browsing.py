"""A real browser for the console: what it complains of is a failure of the test.

Where no Chromium is installed these tests are skipped, and say so; with SAFERUN_BROWSER=required,
as in `.ci/run`, that is a failure.
"""

import os
import shutil

import pytest
from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = os.environ.get("SAFERUN_BROWSER") == "required"

if CHROMIUM is None and REQUIRED:
    raise RuntimeError("SAFERUN_BROWSER is `required`, and there is no Chromium on PATH.")

needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on PATH: the console is not tried in a browser"
)


def sees(page: Page, *, seen: bool) -> None:
    """Somebody looks at a page, or at another: headless, a browser has all of them in sight."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        not seen,
    )


PHONE = {"width": 360, "height": 740}
WIDE = {"width": 1280, "height": 900}

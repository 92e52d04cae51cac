"""Draw the demo's terminal anew: `python docs/images/make.py`.

Plays the demo in a folder that is thrown away, with every question answered yes, and writes
`demo.svg` beside this file; and `demo.png` of it where `rsvg-convert` is installed (Debian has
it in librsvg2-bin, Homebrew in librsvg).
"""  # noqa: INP001 - a script, run by its path

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from saferun.demo import play

HERE = Path(__file__).resolve().parent
TITLE = "make demo ARGS=--yes"

PAPER, INK, LINE = "#0f1215", "#e8eaec", "#262c32"
_COLOURS = ("#262c32", "#ff8a80", "#5fd0a3", "#f0b355", "#6aa4ff", "#b99bf5", "#5cc8d7", INK)

# The names are those of the fonts that people have: a picture fetches nothing from anywhere.
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
text {{ font: 20px 'DejaVu Sans Mono', Menlo, Consolas, ui-monospace, monospace }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect width="100%" height="100%" rx="10" fill="PAPER"/>
<text x="22" y="29" fill="INK" fill-opacity="0.55" style="font-size: 16px">$ TITLE</text>
<path d="M0 46H{width}" stroke="LINE"/>
<g transform="translate({terminal_x}, {terminal_y})" xml:space="preserve">
{backgrounds}{matrix}
</g>
</svg>
"""


def main() -> int:
    """Play, draw and write; returns an exit code."""
    console = Console(
        record=True, width=80, file=io.StringIO(), force_terminal=True, color_system="standard"
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        code = play(yes=True, folder=None, console=console)
    if code != 0:
        sys.stderr.write(console.export_text())
        return code
    drawing = FORMAT
    for word, meant in (("PAPER", PAPER), ("INK", INK), ("LINE", LINE), ("TITLE", TITLE)):
        drawing = drawing.replace(word, meant)
    svg = HERE / "demo.svg"
    console.save_svg(
        str(svg),
        theme=TerminalTheme(_rgb(PAPER), _rgb(INK), [_rgb(colour) for colour in _COLOURS]),
        code_format=drawing,
        # That of the fonts above, so that no glyph is stretched to fit its cell.
        font_aspect_ratio=0.602,
        unique_id="demo",
    )
    converter = shutil.which("rsvg-convert")
    if converter is None:
        sys.stderr.write("demo.png was left as it was, since rsvg-convert is not installed.\n")
        return os.EX_UNAVAILABLE
    png = HERE / "demo.png"
    command = [converter, "--width", "1000", "--output", str(png), str(svg)]
    return subprocess.run(command, check=False).returncode  # noqa: S603 - paths of our own


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


if __name__ == "__main__":
    sys.exit(main())

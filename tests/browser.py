"""A page in headless Chromium, without a network: how wide it is, and what the browser complains of."""

import html
import json
import re
import shutil
import subprocess
from dataclasses import dataclass

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'unsafe-inline'"
OUTER = """<!DOCTYPE html><meta http-equiv="Content-Security-Policy" content="{policy}">
<iframe id="f" width="{width}" height="800" style="border:0" srcdoc="{page}"></iframe><script>
addEventListener("load", () => {{ const seen = document.getElementById("f").contentWindow, page = seen.document;
  const clipped = [...page.querySelectorAll("body *")].filter(each => each.clientWidth > 0 &&
    each.scrollWidth > each.clientWidth + 1 && seen.getComputedStyle(each).overflowX !== "visible");
  document.title = JSON.stringify([seen.innerWidth, page.documentElement.scrollWidth,
    clipped.map(each => each.textContent.trim().slice(0, 60).replace(/[^\\w ]/g, " "))]); }});</script>"""


@dataclass(frozen=True)
class Seen:
    """width: of the window in pixels; scroll_width: of what is in it; clipped: the text of the elements of which a part
    can be seen only by scrolling sideways; console: messages, refused requests included."""

    width: int
    scroll_width: int
    clipped: list[str]
    console: list[str]


def look(page: str, folder, width: int) -> Seen:
    """Shows a page `width` pixels wide in a frame (windows are not made narrower than 500) and asks it. Whatever is
    fetched from anywhere is refused and becomes a message. Skips the test where Chromium is not installed."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("chromium is not installed")
    path = folder / "outer.html"
    path.write_text(OUTER.format(policy=POLICY, width=width, page=html.escape(page)), encoding="utf-8")
    done = subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-2000:]
    return Seen(*json.loads(title[1]), [line for line in done.stderr.splitlines() if ":CONSOLE" in line])

"""A real Chromium without a window: what a page is like after a script of the test has used it."""

import base64
import hashlib
import html
import json
import os
import re
import shutil
import subprocess

import pytest

NAMES = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
# Milliseconds of the page's own clock, which jumps over pauses: the page comes to its end, and nothing waits for it.
FLAGS = "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
FLAGS += " --virtual-time-budget=9000 --window-size=1400,1000"
# A window has a least width, a frame has none.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<iframe src="page.html%s" width="%d" height="900" style="border: 0"></iframe><pre id="seen"></pre>
<script>addEventListener("message", (event) => { document.getElementById("seen").textContent = event.data; });</script>
"""
BEFORE = """
const problems = [];
addEventListener("error", (event) => problems.push(String(event.message)));
addEventListener("unhandledrejection", (event) => problems.push(String(event.reason)));
addEventListener("securitypolicyviolation", (event) => problems.push(`${event.violatedDirective} ${event.blockedURI}`));
"""
AFTER = """
const tick = () => new Promise((resolve) => setTimeout(resolve, 20));
(async () => {
  let result;
  try { result = await (async () => { %s })(); } catch (error) { problems.push(String(error)); }
  const root = document.documentElement;
  const seen = { result, problems, width: innerWidth, content: root.scrollWidth, hacked: typeof hacked,
    dark: matchMedia("(prefers-color-scheme: dark)").matches, images: document.images.length,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name) };
  parent.postMessage(JSON.stringify(seen), "*");
})();
"""


def browser():
    """The path of a Chromium.  Skips the test where there is none."""
    found = next(filter(None, map(shutil.which, filter(None, NAMES))), None)
    if not found:
        pytest.skip("no chromium, chromium-browser or google-chrome on the PATH; CHROMIUM names one elsewhere")
    return found


def look_at(page, folder, script, width=1280, dark=False, fragment=""):
    """What the body of an async function, `script`, returns in the page, and what else there is to see: a dict.

    The page runs as it is but for the two scripts of this test, which its policy is told of.  folder: an empty one.
    """
    chromium = browser()
    text = page.read_text(encoding="utf-8")
    before, after = BEFORE, AFTER % script
    hashes = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (before, after)]
    own = " ".join(f"'sha256-{each}'" for each in hashes)
    text = text.replace("script-src ", f"script-src {own} ", 1)
    text = text.replace("<title>", f"<script>{before}</script><title>", 1)
    end = text.rindex("</body>")
    text = f"{text[:end]}<script>{after}</script>{text[end:]}"
    (folder / "page.html").write_text(text, encoding="utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME % (fragment, width), encoding="utf-8")
    command = [chromium, *FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]
    command += ["--blink-settings=preferredColorScheme=0"] * dark
    command += ["--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    seen = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, re.DOTALL)
    assert seen, f"the page has not come to its end: {done.stderr[-500:]}"
    return json.loads(html.unescape(seen[1]))

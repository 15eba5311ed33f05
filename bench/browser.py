"""Time from key press to next image in Chromium, for the desk and for the tiny page."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.figures import spread
from bench.people import PASSWORD
from bench.serving import run_granian

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
KEYS, ROUNDS = int(os.environ.get("BENCH_KEYS", "40")), 2
GAP = (0.4, 0.6)  # seconds between keys, as for a person who looks at each image
FILLS_WITHIN, PATIENCE = 3.0, 20.0
# "painted": from the key's timestamp to the time at which the browser reports that it painted the
# next panel's image (Element Timing). "frame" is a fallback measured by script: the frame after the
# image was in the page and decoded.
PROBE = """
(() => {
  const probe = window.probe = { painted: [], frame: [] };
  let start = null, before = null, timed = null;
  const panel = () => document.querySelector("#panel");
  addEventListener("keydown", (event) => {
    if (event.key === "a") { start = event.timeStamp; before = panel()?.dataset.review; }
  }, true);
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries())
      if (entry.identifier === timed) { probe.painted.push(entry.renderTime - Number(timed)); timed = null; }
  }).observe({ type: "element" });
  const look = () => {
    const image = document.querySelector("#viewer .real");
    if (start === null || !panel() || panel().dataset.review === before || !image) return;
    const from = start;
    start = null;
    timed = String(from);
    image.setAttribute("elementtiming", timed);
    image.decode().catch(() => {}).then(() => requestAnimationFrame(() => {
      const after = new MessageChannel();
      after.port1.onmessage = () => probe.frame.push(performance.now() - from);
      after.port2.postMessage(0);
    }));
  };
  new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true });
})();
"""


def main(out: str) -> None:
    from playwright.sync_api import sync_playwright

    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        Path(out).write_text(json.dumps({"skipped": "no Chromium is installed"}))
        return
    folder, env = Path(out).parent, dict(os.environ)
    samples: dict[str, dict[str, list[float]]] = {}
    with (
        run_granian(
            "bench.tiny:application", workers=1, env=env, ready="/", log=folder / "tiny.log"
        ) as tiny,
        run_granian(
            "config.wsgi:application", workers=2, env=env, ready="/healthz", log=folder / "desk.log"
        ) as desk,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            # Alternating, so that noise of the machine affects all of them.
            for _ in range(ROUNDS):
                for name, url in (("tiny", "/"), ("tiny, next image decoded", "/ahead/")):
                    _add(samples, name, _press(_tiny(browser, f"http://127.0.0.1:{tiny}{url}")))
                _add(samples, "desk", _press(_desk(browser, f"http://127.0.0.1:{desk}")))
        finally:
            browser.close()
    Path(out).write_text(json.dumps({name: _figures(found) for name, found in samples.items()}))


def _add(
    samples: dict[str, dict[str, list[float]]], name: str, found: dict[str, list[float]]
) -> None:
    collected = samples.setdefault(name, {"painted": [], "frame": []})
    for kind, values in found.items():
        collected[kind] += values


def _figures(found: dict[str, list[float]]) -> dict[str, Any]:
    return {kind: spread(values, factor=1.0) for kind, values in found.items() if values}


def _page(browser: Browser) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.add_init_script(PROBE)
    return page


def _tiny(browser: Browser, url: str) -> Page:
    page = _page(browser)
    page.goto(url)
    page.wait_for_selector("#viewer .real")
    return page


def _desk(browser: Browser, url: str) -> Page:
    """Log in, open the queue "waiting", and wait for the deck to fill."""
    page = _page(browser)
    page.goto(f"{url}/login/?next=/queues/waiting/")
    page.fill("[name=username]", "moderator-1")
    page.fill("[name=password]", PASSWORD)
    page.press("[name=password]", "Enter")
    page.locator("form[action*='/queues/waiting/claims/'] button").first.click()
    page.wait_for_selector("#viewer .real")
    page.wait_for_load_state("networkidle")
    page.wait_for_timeout(1000 * FILLS_WITHIN)
    return page


def _press(page: Page) -> dict[str, list[float]]:
    gaps = random.Random(1)
    for number in range(1, KEYS + 1):
        page.keyboard.press("a")
        page.wait_for_timeout(1000 * gaps.uniform(*GAP))
        # Wait for the image however long it takes: an empty deck is a sample too. (The page's
        # policy forbids wait_for_function.)
        deadline = time.monotonic() + PATIENCE
        while page.evaluate("probe.frame.length") < number:
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"After key {number} no other image came within {PATIENCE:.0f} seconds."
                )
            page.wait_for_timeout(50)
    found: dict[str, list[float]] = page.evaluate(
        "({ painted: probe.painted, frame: probe.frame })"
    )
    page.context.close()
    return found

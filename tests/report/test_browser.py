"""The report in a real browser: it fits a phone, fetches nothing, and prints what paper needs."""

from __future__ import annotations

import contextlib
import http.server
import json
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from invented_instruct import full_instruct, hostile_instruct, noise_only, only_tasks, wide_instruct
from invented_published import with_published
from invented_runs import LONG, full, hostile, plain, wide
from test_comparison import ONE

from preceptor.report.build import build, render
from preceptor.report.build_instruct import build_instruct, render_instruct
from preceptor.report.comparison import render_comparison

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH (Debian: apt-get install chromium)")

# The page itself may run no script, so a second page of the same origin holds it in a frame as wide as a
# phone, opens every <details>, and writes down what is wider than the frame, unless it stands in a box that
# scrolls by itself.
PROBE = """<!DOCTYPE html><link rel="icon" href="data:,"><style>iframe {{ border: 0; height: 900px }}</style>
{frames}<pre id="out"></pre><script>
addEventListener("load", () => {{
  const found = [...document.querySelectorAll("iframe")].map((frame) => {{
    const page = frame.contentDocument;
    page.querySelectorAll("details").forEach((one) => {{ one.open = true; }});
    const wide = [...page.body.querySelectorAll("*")].filter((one) =>
      !one.parentElement.closest(".box, svg") && one.getBoundingClientRect().right > frame.clientWidth + 0.5);
    return {{ width: page.documentElement.scrollWidth, height: page.documentElement.scrollHeight,
      elements: page.body.querySelectorAll("*").length,
      ground: getComputedStyle(page.body).backgroundColor,
      wide: wide.map((one) => one.outerHTML.slice(0, 90)) }};
  }});
  document.getElementById("out").textContent = encodeURIComponent(JSON.stringify(found));
}});
</script>"""


def chromium(*arguments: str) -> str:
    return browse(*arguments).stdout


def browse(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER is not None
    with tempfile.TemporaryDirectory() as profile:
        flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        flags += "--disable-background-networking --disable-component-update"
        command = [
            BROWSER,
            *flags.split(),
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={profile}",
        ]
        return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=True)


@contextlib.contextmanager
def serving(pages: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """The pages on loopback, and the list of all paths that were asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = pages.get(self.path, "").encode("utf-8", errors="replace")
            self.send_response(200 if self.path in pages else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@needs_browser
@pytest.mark.parametrize(("medium", "width"), [("screen", 360), ("screen", 1000), ("print", 690)])
def test_nothing_is_wider_than_the_page_and_nothing_is_fetched(medium: str, width: int) -> None:
    pages: dict[str, str] = {}
    with serving(pages) as (address, asked):
        lure = f"""<img src="{address}/a"><link rel="stylesheet" href="{address}/b">url({address}/c) """
        made = {"full": with_published(full()), "plain": plain(), "wide": wide()}
        made["hostile"] = with_published(hostile(lure), f" {lure}{LONG}")
        for name, summary in made.items():  # in print's case with its rules in force on the screen
            pages[f"/{name}"] = render(summary).replace(f"@media {medium} {{", "@media all {")
        frames = "".join(f'<iframe src="/{name}" width="{width}"></iframe>' for name in made)
        pages["/"] = PROBE.format(frames=frames)
        shown = chromium("--dump-dom", f"{address}/")
    coded = re.search(r'<pre id="out">([^<]+)</pre>', shown)
    assert coded, "the browser did not measure the pages"
    for name, found in zip(made, json.loads(urllib.parse.unquote(coded[1])), strict=True):
        assert found["elements"] > 300, name
        assert found["height"] > 2000, name
        assert found["width"] <= width, (name, found["wide"])
        assert not found["wide"], name
    assert sorted(asked) == sorted(["/", *(f"/{name}" for name in made)])


@needs_browser
@pytest.mark.parametrize(("medium", "width"), [("screen", 390), ("screen", 1280), ("print", 690)])
def test_a_matrix_fits_its_page_in_light_and_dark_without_a_word_on_the_console(medium: str, width: int) -> None:
    pages: dict[str, str] = {}
    with serving(pages) as (address, asked):
        lure = f"""<img src="{address}/a"><link rel="stylesheet" href="{address}/b">url({address}/c) """
        summaries = (full_instruct(), noise_only(), only_tasks(), wide_instruct(), hostile_instruct(lure))
        for number, summary in enumerate(summaries):
            pages[f"/{number}"] = render_instruct(summary).replace(f"@media {medium} {{", "@media all {")
        pages["/"] = PROBE.format(frames="".join(f'<iframe src="{name}" width="{width}"></iframe>' for name in pages))
        grounds = []
        for dark in ((), ("--force-dark-mode",)):
            done = browse("--enable-logging=stderr", *dark, "--dump-dom", f"{address}/")
            assert "CONSOLE" not in done.stderr, done.stderr
            coded = re.search(r'<pre id="out">([^<]+)</pre>', done.stdout)
            assert coded, "the browser did not measure the pages"
            measured = json.loads(urllib.parse.unquote(coded[1]))
            for name, found in zip(pages, measured, strict=False):
                assert found["elements"] > 90, name
                assert found["width"] <= width, (name, found["wide"])
                assert not found["wide"], name
            grounds.append({found["ground"] for found in measured})
    assert sorted(asked) == sorted([*pages, *pages])
    assert grounds == [{"rgb(252, 252, 251)"}, {"rgb(19, 23, 27)"}] if medium == "screen" else grounds[0] == grounds[1]


@needs_browser
@pytest.mark.parametrize(("medium", "width"), [("screen", 390), ("screen", 1280), ("print", 690)])
def test_a_comparison_fits_its_page_and_fetches_nothing(medium: str, width: int) -> None:
    pages: dict[str, str] = {}
    with serving(pages) as (address, asked):
        lure = f"""<img src="{address}/a"><link rel="stylesheet" href="{address}/b">url({address}/c) """
        named = [replace(ONE, arm=word, setting=word, baseline=word) for word in ("new", LONG, lure)]
        page = render_comparison([ONE, *named], [lure], f"preceptor compare {LONG} {lure}")
        pages["/page"] = page.replace(f"@media {medium} {{", "@media all {")
        pages["/"] = PROBE.format(frames=f'<iframe src="/page" width="{width}"></iframe>')
        shown = chromium("--dump-dom", f"{address}/")
    coded = re.search(r'<pre id="out">([^<]+)</pre>', shown)
    assert coded, "the browser did not measure the page"
    found = json.loads(urllib.parse.unquote(coded[1]))[0]
    assert found["elements"] > 100
    assert found["width"] <= width, found["wide"]
    assert not found["wide"]
    assert sorted(asked) == ["/", "/page"]


@needs_browser
def test_a_load_that_the_policy_forbids_would_stand_on_the_console() -> None:
    page = render_instruct(only_tasks()).replace("<main>", '<main><img src="/a">')
    with serving({"/": page}) as (address, asked):
        assert "CONSOLE" in browse("--enable-logging=stderr", "--dump-dom", f"{address}/").stderr
    assert "/a" not in asked


@needs_browser
@pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="no pdftotext on PATH (Debian: apt-get install poppler-utils)"
)
def test_print_opens_what_a_reader_of_paper_needs(tmp_path: Path) -> None:
    page = build(full(), tmp_path / "report.html")
    chromium("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}", page.as_uri())
    done = subprocess.run(["pdftotext", "-layout", tmp_path / "report.pdf", "-"], capture_output=True, check=True)
    words = " ".join(done.stdout.decode().split())
    assert words.count("Scores of each seed") == 6
    assert 'task = "pubmedqa"' in words
    assert "not recorded" in words
    assert "Unchanged:" not in words


@needs_browser
@pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="no pdftotext on PATH (Debian: apt-get install poppler-utils)"
)
def test_a_matrix_is_whole_on_paper(tmp_path: Path) -> None:
    page = build_instruct(full_instruct(), tmp_path / "report.html")
    chromium("--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'report.pdf'}", page.as_uri())
    done = subprocess.run(["pdftotext", "-layout", tmp_path / "report.pdf", "-"], capture_output=True, check=True)
    words = " ".join(done.stdout.decode().split())
    assert words.count("people-ie") >= 2
    assert "Draw a picture of the garden." in words, "closed parts are open on paper"
    assert 'name = "ablation"' in words
    assert "Every metric of" not in words

"""The pictures: whole, quiet, and no label over another."""

from __future__ import annotations

import html
import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from invented_tasks import hostile_tasks, tasks

from preceptor.publish.diversity import diversity_of
from preceptor.publish.pictures import _LETTER, _PAD, font_size, length_picture, picture, slices_of

SVG = "{http://www.w3.org/2000/svg}"


def top(*entries: tuple[str, int, dict[str, int]]) -> list[dict[str, Any]]:
    return [
        {"verb": verb, "tasks": count, "objects": [{"noun": n, "tasks": c} for n, c in objects.items()]}
        for verb, count, objects in entries
    ]


def test_rings_are_shares_of_the_tasks_and_objects_lie_within_their_verb() -> None:
    slices = slices_of(top(("list", 60, {"drug": 30, "dose": 10}), ("write", 40, {"note": 40})))
    assert [(s.label, round(s.start, 3), round(s.end, 3)) for s in slices] == [
        ("list", 0, 0.6),
        ("drug", 0, 0.3),
        ("dose", 0.3, 0.4),
        ("write", 0.6, 1),
        ("note", 0.6, 1),
    ]
    verbs = [s for s in slices if s.label in ("list", "write")]
    assert verbs[0].outer == slices[1].inner
    assert verbs[0].fill != verbs[1].fill


@pytest.mark.parametrize("count", range(2, 21))
def test_neighbouring_verbs_differ_in_colour(count: int) -> None:
    slices = slices_of(top(*((f"verb{n}", 10, {}) for n in range(count))))
    assert all(one.fill != slices[(place + 1) % count].fill for place, one in enumerate(slices))


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MEASURE = """<pre id="out"></pre><script>
document.getElementById("out").textContent = JSON.stringify([...document.querySelectorAll("text[transform]")].map(
  (one) => [one.textContent, one.getComputedTextLength(), parseFloat(one.getAttribute("font-size"))]));
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
def test_labels_are_as_short_in_a_browser_as_the_picture_takes_them_to_be(tmp_path: Path) -> None:
    figures = diversity_of(tasks(800))
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{picture(figures)}{MEASURE}", encoding="utf-8")
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    found = re.search(r'<pre id="out">(.*?)</pre>', shown)
    assert found, "the browser did not measure the labels"
    drawn = [one for one in slices_of(figures["roots"]["top"]) if font_size(one)]
    measured = json.loads(html.unescape(found[1]))
    assert len(measured) == len(drawn) >= 20
    for one, (label, length, size) in zip(drawn, measured, strict=True):
        assert (label, size) == (one.label, font_size(one))
        assert one.outer - _PAD - length >= one.inner, label
        assert 2 * math.pi * (one.end - one.start) * (one.outer - _PAD - length) >= 0.8 * size, label


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_every_label_stays_inside_its_slice(seed: int) -> None:
    labelled = 0
    for one in slices_of(diversity_of(tasks(800, seed))["roots"]["top"]):
        size = font_size(one)
        assert size == 0 or 10 <= size <= 15
        if size:
            labelled += 1
            start = one.outer - _PAD - len(one.label) * _LETTER * size
            assert start >= one.inner
            assert size <= 2 * math.pi * (one.end - one.start) * start
    assert labelled >= 20


def test_a_word_longer_than_its_ring_is_wide_has_no_label() -> None:
    verb, noun, other = slices_of(top(("list", 2, {"pneumonoultramicroscopicosis": 1, "immunodeficiency": 1})))
    assert font_size(verb) == 15
    assert font_size(noun) == 0
    assert 10 <= font_size(other) <= 14


def test_a_slice_too_thin_for_a_label_has_none_and_keeps_its_name_for_the_pointer() -> None:
    made = picture({"tasks": 1000, "roots": {"top": top(("list", 999, {"drug": 999}), ("write", 1, {"note": 1}))}})
    root = ElementTree.fromstring(made)
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert "list" in texts
    assert "write" not in texts
    assert {"write: 1", "write note: 1"} <= {element.text for element in root.iter(f"{SVG}title")}


@pytest.mark.parametrize("kept", [hostile_tasks(), tasks(1), tasks(2000), []], ids=["hostile", "one", "many", "none"])
def test_pictures_are_well_formed_and_run_and_load_nothing(kept: list[Any]) -> None:
    figures = diversity_of(kept)
    for made in (picture(figures), length_picture(figures)):
        root = ElementTree.fromstring(made)
        assert root.tag == f"{SVG}svg"
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "path", "text", "title", "rect", "line"),
        }
        assert not re.search(
            r"href|url\(|script|\son\w+=|\bnan\b|\binf\b", made.replace("pointer-events", ""), re.IGNORECASE
        )


def test_words_of_a_model_are_escaped() -> None:
    figures = {"tasks": 2, "roots": {"top": top(("<b>&", 2, {'"><script>': 2}))}}
    made = picture(figures)
    assert "<script" not in made
    assert "<b>" not in made
    assert ElementTree.fromstring(made) is not None


def test_one_verb_alone_fills_the_ring() -> None:
    made = picture({"tasks": 3, "roots": {"top": top(("list", 3, {"drug": 3}))}})
    arcs = re.findall(r'<path d="([^"]*)"', made)
    assert len(arcs) == 2
    assert all(path.count("Z") == 2 for path in arcs)


def test_bars_are_as_high_as_their_counts_and_the_median_is_named() -> None:
    figures = diversity_of(tasks(400))
    root = ElementTree.fromstring(length_picture(figures))
    bars = [(float(rect.get("height") or 0), rect[0].text or "") for rect in root.iter(f"{SVG}rect")]
    counts = [
        count for name in ("instruction", "input", "output") for count in figures["words"][name]["histogram"]["counts"]
    ]
    assert [int(tip.split(": ")[1].replace(",", "")) for _, tip in bars] == counts
    assert max(high for high, _ in bars) == 120
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert f"median {figures['words']['output']['quantiles']['50']}" in texts

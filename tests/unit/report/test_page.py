import dataclasses
import re
from html.parser import HTMLParser

import pytest
from plotly.offline import get_plotlyjs

from compactmtl.report.collect import collect
from compactmtl.report.page import TITLES, render
from compactmtl.report.samples import Predictions

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
NOTHING = Predictions(source="", notes=("The model names no task that can be drawn.",))


class Page(HTMLParser):
    """Every tag with its attributes, and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts = [], "", []
        self._inside = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else None
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside is None:
            self.text += data


@pytest.fixture
def page(complete, shown):
    return Page(render(collect(complete[0]), shown))


def outside_addresses(text):
    """Return every address a browser would fetch, plotly's own script aside."""
    text = text.replace(get_plotlyjs(), "")
    found = re.findall(r"""(?:src|href|action)\s*=\s*["']?([^"'\s>]+)""", text)
    found += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", text)
    return [a for a in found if isinstance(a, tuple) or not a.startswith(("data:image/png", "#"))]


def test_a_complete_page_has_every_section_and_the_headline_numbers(page):
    for title in TITLES:
        assert title in page.text
    for number in ("3.69\u00d7", "1.48 G \u2192 402 M", "62.0 %", "1,250 of 2,016", "3.12\u00d7"):
        assert number in page.text
    assert "rooms-demo" in page.text
    assert "Constant predictor" in page.text
    assert "aten.grid_sampler_2d" in page.text


def test_pictures_of_every_task_and_image_are_inside(page, shown):
    alts = [attrs.get("alt", "") for tag, attrs in page.tags if tag == "img"]
    for sample in shown.samples:
        assert f"{sample.name}: input" in alts
        for task in shown.tasks:
            for which in ("truth", "dense", "compact"):
                assert f"{sample.name}: {task}, {which}" in alts
    sources = [attrs["src"] for tag, attrs in page.tags if tag == "img"]
    assert all(source.startswith("data:image/png") for source in sources)


def test_the_page_needs_nothing_from_elsewhere(complete, shown):
    text = render(collect(complete[0]), shown)
    assert outside_addresses(text) == []
    assert not [tag for tag, attrs in Page(text).tags if tag in ("link", "iframe", "object")]


@pytest.mark.parametrize(
    "planted",
    ['<img src="https://x.y/z.png">', "<style>@import 'x'</style>", '<a href="http://x">'],
)
def test_the_oracle_sees_an_outside_address(planted, complete, shown):
    text = render(collect(complete[0]), shown).replace("</main>", f"{planted}</main>")
    assert outside_addresses(text)


def test_every_link_has_its_target(page):
    targets = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert len(links) == len(TITLES)
    assert all(link.removeprefix("#") in targets for link in links)


def test_hostile_names_stay_text(complete, shown):
    folder, run = complete
    for path in (
        *(folder / "report.json", folder / "bench.json"),
        *(run / "log.jsonl", run / "run.json"),
    ):
        text = path.read_text()
        for name in ("encoder.stage1.conv1", '"seg"', "sparse", "finished", "no rule"):
            replacement = HOSTILE.replace('"', "")
            text = text.replace(name, f'"{replacement}"' if name.startswith('"') else replacement)
        path.write_text(text)
    renamed = {HOSTILE if name == "seg" else name: facts for name, facts in shown.tasks.items()}
    samples = [
        dataclasses.replace(
            sample, name=HOSTILE, pictures={HOSTILE: sample.pictures["seg"], **sample.pictures}
        )
        for sample in shown.samples
    ]
    predictions = dataclasses.replace(
        shown, source=HOSTILE, tasks=renamed, samples=samples, notes=(HOSTILE,)
    )
    page = Page(render(collect(folder), predictions))
    assert not [attrs for _, attrs in page.tags if "onerror" in attrs]
    assert not [text for text in page.scripts if text.startswith("alert")]
    assert HOSTILE in page.text


def test_the_oracle_sees_a_planted_script():
    assert Page(f"<p>{HOSTILE}</p>").scripts == ["alert(1)"]


def test_without_bench_and_exports_the_page_says_how_to_get_them(tmp_path, make):
    page = Page(render(collect(make.write_compact(tmp_path / "compact")), NOTHING))
    assert "compactmtl export && compactmtl bench" in page.text
    assert "compactmtl report --run RUN" in page.text
    assert "latency not measured" in page.text
    assert "The model names no task that can be drawn." in page.text


def test_without_bench_only_the_bench_is_asked_for(complete, shown):
    (complete[0] / "bench.json").unlink()
    page = Page(render(collect(complete[0]), shown))
    assert "compactmtl bench" in page.text
    assert "compactmtl export &&" not in page.text


def test_a_noisy_bench_is_not_passed_off_as_good(complete, shown, make):
    make.write_bench(complete[0], verdict="noisy")
    page = Page(render(collect(complete[0]), shown))
    assert "latency: noisy" in page.text
    assert "not to be relied on" in page.text
    assert "verdict ok" not in page.text


def test_a_missed_check_is_shown(complete, shown):
    path = complete[1] / "run.json"
    path.write_text(
        path.read_text()
        .replace('"passed": true', '"passed": false')
        .replace('"missed": []', '"missed": ["seg at the end: too bad"]')
    )
    page = Page(render(collect(complete[0]), shown))
    assert "check missed" in page.text
    assert "seg at the end: too bad" in page.text


@pytest.mark.parametrize("rows", [0, 1])
def test_a_run_that_has_hardly_begun(rows, complete, shown):
    path = complete[1] / "log.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))
    page = Page(render(collect(complete[0]), shown))
    assert "Training" in page.text


def test_a_task_without_labels_has_no_truth_row(complete, shown):
    samples = [
        dataclasses.replace(
            sample,
            pictures={
                task: {key: value for key, value in pictures.items() if key != "truth"}
                for task, pictures in sample.pictures.items()
            },
        )
        for sample in shown.samples
    ]
    page = Page(render(collect(complete[0]), dataclasses.replace(shown, samples=samples)))
    assert not [
        attrs for tag, attrs in page.tags if tag == "img" and attrs["alt"].endswith("truth")
    ]

"""The page about a run: of every robot and generation, of half a run and of none; opened in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from robot_dreamer.cli import main
from robot_dreamer.report.charts import Chart, Series, draw
from robot_dreamer.report.page import write_report
from robot_dreamer.report.run_files import NoRun
from tests.made_up_runs import RUNS, make_run, status, write_lines

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PROBE = """<script>
const faults = [];
addEventListener("error", e => faults.push(String(e.message || e.target.src || e.target.href)), true);
addEventListener("load", () => parent.postMessage({
  place: name, faults, width: innerWidth, needed: document.documentElement.scrollWidth,
  images: document.images.length, broken: [...document.images].filter(i => !i.naturalWidth).length,
  charts: [...document.querySelectorAll("figure svg")].map(s => [s.clientWidth, s.clientHeight]),
  paper: getComputedStyle(document.body).backgroundColor,
  ink: getComputedStyle(document.querySelector("svg text")).fill,
}, "*"));
</script>"""
FRAMES = """<html><script>
const found = {};
addEventListener("message", e => { found[e.data.place] = e.data;
  document.documentElement.dataset.found = JSON.stringify(found); });
</script>%s</html>"""
WIDTHS = (400, 1400)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind of run by its name."""
    return {name: write_report(make_run(tmp_path_factory.mktemp("run"), name)) for name in RUNS}


@pytest.fixture(scope="module")
def looks(pages: dict[str, Path]) -> dict[str, Any]:
    """What a browser finds, by "name, width, scheme": how bright its reader likes it; one start for all pages."""
    frames = []
    for name, page in pages.items():
        probed = page.with_name("probed.html")
        probed.write_text(page.read_text().replace("<head>", "<head>" + PROBE, 1))
        frames += [
            f'<iframe name="{name}, {width}, {scheme}" width={width} height=900 '
            f'style="border: 0; color-scheme: {scheme}" src="{probed.as_uri()}"></iframe>'
            for width in WIDTHS
            for scheme in ("light", "dark")
        ]
    folder = next(iter(pages.values())).parent
    (folder / "frames.html").write_text(FRAMES % "".join(frames))
    return look(folder / "frames.html")


def look(page: Path) -> dict[str, Any]:
    """What the frames of a page report of themselves."""
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000", "--dump-dom"]
    options += [f"--user-data-dir={page.parent / 'chromium'}", "--window-size=1500,900"]
    command = [CHROMIUM, *options, page.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    match = re.search(r'data-found="([^"]*)"', found)
    assert match is not None, f"no page was loaded: {found[:500]}"
    return json.loads(html.unescape(match[1]))


def text_of(page: Path) -> str:
    """What a reader reads."""
    return html.unescape(re.sub(r"<style>.*?</style>|<[^>]*>", " ", page.read_text(), flags=re.S))


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (apt install chromium) to open the pages in")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", RUNS)
def test_a_browser_finds_nothing_wrong(looks: dict[str, Any], name: str, width: int, scheme: str) -> None:
    found, dark = looks[f"{name}, {width}, {scheme}"], scheme == "dark"
    assert found["faults"] == []
    assert found["needed"] <= found["width"] == width
    assert found["broken"] == 0
    assert found["images"] == (2 if "camera" in name or "game" in name else 0)
    assert len(found["charts"]) > 10
    assert all(200 < across <= width and high > 100 for across, high in found["charts"])
    assert (found["paper"] == "rgb(20, 24, 29)") == dark
    assert (found["ink"] == "rgb(230, 234, 239)") == dark


@pytest.mark.parametrize("name", RUNS)
def test_it_needs_nothing_beside_itself(pages: dict[str, Path], name: str) -> None:
    text = pages[name].read_text()
    links = re.findall(r'(?:src|href)="([^"]*)"', text) + re.findall(r"url\(([^)]*)\)", text)
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "<script" not in text


@pytest.mark.parametrize("name", RUNS)
def test_it_says_what_came_out_and_what_the_model_dreams(pages: dict[str, Path], name: str) -> None:
    spec, preset, _ = RUNS[name]
    text = text_of(pages[name])
    assert re.search(r"return, evaluated \(95 %: 24 to 26\)\s+25\s", text)
    assert f"robot-dreamer train --preset {preset}" in text
    assert "Open-loop error against horizon" in text
    for observation in spec.observations:
        assert observation.name in text
    assert ("Value along the newest episode" in text) == (preset not in ("planet", "world_models:cpu"))
    assert "nan" not in text.lower().split()


def test_names_and_units_of_the_spec_are_on_the_axes(pages: dict[str, Path]) -> None:
    text = text_of(pages["cartpole, DreamerV3"])
    assert "cos hinge_1" in text
    assert "slider (m/s)" in text or "hinge_1 (rad/s)" in text
    assert "time since the dream began (s)" in text


def test_a_log_directory_that_is_none_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoRun, match="found no such folder"):
        write_report(tmp_path / "nowhere")
    (tmp_path / "notes.txt").write_text("no run")
    assert main(["report", str(tmp_path)]) == 2
    assert "expected the log directory of a run, found none of status.json" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_what_is_missing_is_missing_by_name(tmp_path: Path) -> None:
    logdir = make_run(tmp_path)
    for path in logdir.iterdir():
        if path.name != "status.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = write_report(logdir)
    text = text_of(page)
    for said in (
        "portraits: none yet",
        "metrics.jsonl: no losses yet",
        "episodes.jsonl: no episode has ended yet",
        "run.json: the configuration of the run is not known",
        "commands.jsonl: the command that began this run was not written down",
        "robots.jsonl: how these numbers came about over the run was not written down",
        "No evaluation has been made",
        "Return over experience: no episode has ended yet",
    ):
        assert said in text
    assert "<svg" not in page.read_text()
    assert page.read_text().count("<section") == 5
    (logdir / "status.json").rename(logdir / "metrics.jsonl")
    assert "status.json: not there" in text_of(write_report(logdir))


def test_files_that_were_torn_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    logdir = make_run(tmp_path)
    for name in ("status.json", "evaluation.json", "run.json"):
        (logdir / name).write_text('{"phase": "tra')
    for name in ("metrics.jsonl", "episodes.jsonl"):
        (logdir / name).write_text("[1, 2]\n" + (logdir / name).read_text() + '{"env_st')
    newest = sorted((logdir / "portraits").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    text = text_of(write_report(logdir))
    for name in ("status.json", "evaluation.json", "run.json", "metrics.jsonl", newest.name):
        assert name in text
    assert "Return over experience" in text
    assert "No portrait" in text


def test_a_run_that_was_killed_says_so(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(3, "training")))
    assert "the run is going on, or was killed; its last word was: training" in text_of(write_report(tmp_path))


def test_numbers_that_are_not_finite_give_a_sentence_and_no_empty_chart(tmp_path: Path) -> None:
    logdir = make_run(tmp_path, episodes=1)
    write_lines(logdir / "metrics.jsonl", [{"env_step": 1, "update": 1, "kl": float("nan")}])
    for path in (logdir / "portraits").iterdir():
        with np.load(path) as file:
            arrays = {k: np.full_like(v, np.nan) if v.dtype.kind == "f" else v for k, v in file.items()}
        np.savez(path, **arrays)
    text = text_of(write_report(logdir))
    assert "KL of posterior and prior: none of the numbers is finite" in text
    assert "not finite" in text


def test_an_old_run_tells_its_robot_by_its_checkpoint(tmp_path: Path) -> None:
    logdir = make_run(tmp_path)
    run = json.loads((logdir / "run.json").read_text())
    (logdir / "run.json").unlink()
    (logdir / "checkpoints" / "00000050").mkdir(parents=True)
    (logdir / "checkpoints" / "00000050" / "meta.json").write_text(json.dumps({"format": 2, **run}))
    text = text_of(write_report(logdir))
    assert "cos hinge_1" in text
    assert "configuration of the run is not known" not in text


def test_a_chart_holds_its_numbers_and_takes_its_ink_from_the_page() -> None:
    drawn = draw(Chart("a < b", "x (s)", "y (m)", [Series("one", [1, 2, 3], [4.0, np.nan, 6.0])]))
    assert 'aria-label="a &lt; b"' in drawn.svg
    assert "currentColor" in drawn.svg
    assert "x (s)" in drawn.svg and "y (m)" in drawn.svg
    assert drawn.rows == [["1", "4"], ["3", "6"]]
    assert draw(Chart("empty", "x", "y", [Series("none", [], [])])).svg == ""


@pytest.mark.parametrize(("lines", "words"), [(23, "r"), (12, "observation of a long name "), (64, "robot_")])
def test_a_chart_of_many_lines_has_room_for_the_plot(lines: int, words: str) -> None:
    series = [Series(f"{words}{i}", [1, 2], [i, i + 1]) for i in range(lines)]
    drawn = draw(Chart("fleet", "x", "y", series, "A line a robot."))
    shown = [i for i in range(lines) if f">{words}{i}<" in drawn.svg]
    assert shown == list(range(min(lines, 24)))
    told = "A line a robot. Named are 24 of 64; the numbers have all."
    assert drawn.caption == (told if lines == 64 else "A line a robot.")
    assert len(drawn.head) == 1 + lines


def test_a_film_is_part_of_the_page_unless_it_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "status.json").write_bytes(msgspec.json.encode(status(3)))
    assert "film.mp4: no episode has been filmed" in text_of(write_report(tmp_path))
    (tmp_path / "film.mp4").write_bytes(b"film")
    assert 'src="data:video/mp4;base64,ZmlsbQ=="' in write_report(tmp_path).read_text()
    monkeypatch.setattr("robot_dreamer.report.sections.result.FILM_LIMIT", 3)
    page = write_report(tmp_path)
    assert "film.mp4 is too large for this page" in text_of(page)
    assert "<video" not in page.read_text()


def test_an_older_bundle_is_one_on_the_same_robot(tmp_path: Path) -> None:
    """The robots of a fleet change their bundles at moments of their own."""
    logdir, entry = make_run(tmp_path), {"return": 1.0, "length": 5}
    acted = [("left", 5), ("right", 4), ("left", 6), ("right", 5), ("right", 4)]
    lines = [{"env_step": i, "robot": robot, "policy_version": v, **entry} for i, (robot, v) in enumerate(acted)]
    write_lines(logdir / "episodes.jsonl", lines)
    assert "1 times an older one followed a newer one on the same robot" in text_of(write_report(logdir))


@pytest.mark.parametrize("rows", [0, 4, 24])
def test_a_dream_ends_where_its_episode_did(tmp_path: Path, rows: int) -> None:
    """It cannot know the next one, beside which it would look wrong."""
    logdir = make_run(tmp_path, "game, Dreamer V2")
    for path in (logdir / "portraits").iterdir():
        with np.load(path) as file:
            arrays = {**file, "lasted": np.full_like(file["lasted"], rows)}
        np.savez(path, **arrays)
    text = text_of(write_report(logdir))
    assert (f"only the {rows} actions that were executed, after which the episode ended." in text) == (rows < 24)
    assert ("The dream ends where the episode did" in text) == (rows < 24)
    columns = re.findall(r"<li>\+(\d+)</li>", (logdir / "report.html").read_text())
    assert max(map(int, columns), default=0) == rows


def test_ticks_of_large_numbers_that_vary_little_differ() -> None:
    """Where a surveyor says the robot is, or the air's pressure."""
    for level in (500_000.0, -101_325.0):
        drawn = draw(Chart("t", "x", "y (m)", [Series("easting", [0, 1, 2], [level, level + 0.7, level + 0.2])]))
        ticks = re.findall(r">(-?[\d.]+[kMG])</text>", drawn.svg)
        assert len(ticks) > 3 and len(set(ticks)) == len(ticks)


def test_what_no_episode_was_long_enough_for_is_not_called_not_finite(tmp_path: Path) -> None:
    logdir = make_run(tmp_path)
    for path in (logdir / "portraits").iterdir():
        with np.load(path) as file:
            arrays = dict(file)
        for key in [key for key in arrays if key.startswith(("rmse/dreamt/", "rmse/still/"))]:
            arrays[key][7:] = np.nan
        np.savez(path, **arrays)
    text = text_of(write_report(logdir))
    assert "dreamed, +5" in text and "unchanged, +5" in text and "dreamed, +15" not in text
    assert "not finite" not in text

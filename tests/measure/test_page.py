"""The page of ``medsize measure`` in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image

from medsize.cohort import InitOptions, init_cohort
from medsize.measure.run import measure_cohort
from medsize.sizes.table.read import read_size_table
from medsize.sizes.table.size_table import SizeTable

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install -r requirements.txt")

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium: apt-get install chromium, as root")
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"),
]
SCREEN = {"width": 1366, "height": 768}
PATIENCE = 60.0
"""Seconds to wait on a busy machine."""
STRUCTURES = ("ball", "egg", "cyst")
SPACING = np.array([2.0, 2.0, 4.0])
SHAPE = (80, 80, 30)
RADII = {"ball": (32.0, 32.0, 32.0), "egg": (20.0, 14.0, 26.0), "cyst": (10.0, 10.0, 12.0)}
CENTRES = {"ball": (52.0, 60.0, 60.0), "egg": (114.0, 60.0, 60.0), "cyst": (90.0, 118.0, 60.0)}
VOLUMES = {name: 4 / 3 * math.pi * math.prod(radii) for name, radii in RADII.items()}
NUM_SCANS = 3


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scans of three ellipsoids of known volumes."""
    folder = tmp_path_factory.mktemp("phantom")
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1) * SPACING
    rng = np.random.default_rng(0)
    for number in range(NUM_SCANS):
        image = rng.normal(100, 10, SHAPE)
        for name, brightness in zip(STRUCTURES, (300, 220, 20), strict=True):
            image[(((grid - CENTRES[name]) / RADII[name]) ** 2).sum(axis=-1) < 1] = brightness
        nibabel.save(nibabel.Nifti1Image(image.astype(np.int16), np.diag([*SPACING, 1])), folder / f"scan_{number}.nii")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


class Measuring:
    """The server in a process of its own, forked from this one, which has imported what it needs."""

    def __init__(self, cohort: Path, output: Path, structures: tuple[str, ...] = STRUCTURES) -> None:
        self.cohort, self.output, self.structures = cohort, output, structures
        self.start()

    def start(self) -> None:
        reading, writing = os.pipe()
        self.process = os.fork()
        if not self.process:
            try:
                server = measure_cohort(self.cohort, self.structures, self.output)
                os.write(writing, server.address.encode())
                os.close(writing)
                server.serve_forever()
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading) as opened:
            self.address = opened.read()

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)

    @property
    def table(self) -> SizeTable:
        return read_size_table(self.output / "sizes.csv")

    @property
    def readings(self) -> list[dict[str, Any]]:
        lines = (line for file in sorted(self.output.glob("*.jsonl")) for line in file.read_text().splitlines())
        return [json.loads(line) for line in lines]


class Page:
    """The page, as a reader uses it; places are scanner mm of the phantom."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(address)

    def sign_in(self, reader: str) -> None:
        self.page.fill("#reader", reader)
        self.page.press("#reader", "Enter")
        self.ready()

    def until(self, expression: str) -> None:
        """Wait until an expression is true. (Playwright's own wait needs ``eval``, which the page forbids.)"""
        end = time.monotonic() + PATIENCE
        while not self.page.evaluate(expression):
            assert time.monotonic() < end, f"{expression}\n{self.page.inner_text('body')}"
            time.sleep(0.02)

    def measured(self, number: int) -> None:
        """Wait until a number of structures is measured."""
        self.until(f"document.getElementById('progress').value == {number}")

    def ready(self) -> None:
        """Wait until a slice is shown, and nothing is being saved."""
        self.page.evaluate("async () => { window.app = (await import('./app.js')).app; }")
        self.until("app.view.facts !== null && app.view.shown !== null && !app.busy && app.task !== undefined")

    def structure(self) -> str:
        return self.page.inner_text("#structure")

    def screen(self, place: Any) -> tuple[float, float]:
        x, y = self.page.evaluate(
            """place => { const box = app.view.canvas.getBoundingClientRect(), [x, y] = app.view.screenOfMm(place);
            return [box.x + x, box.y + y]; }""",
            [float(v) for v in place],
        )
        return x, y

    def show(self, place: Any) -> None:
        self.page.evaluate("async place => { await app.view.show(place); }", [float(v) for v in place])

    def drag(self, start: Any, end: Any) -> None:
        self.page.mouse.move(*self.screen(start))
        self.page.mouse.down()
        self.page.mouse.move(*self.screen(end), steps=2)
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def sized(self) -> None:
        """Wait for the size of the drawing."""
        self.until("!document.getElementById('save').disabled")

    def save(self) -> None:
        measured = self.page.evaluate("document.getElementById('progress').value")
        self.sized()
        self.press("s")
        self.until(f"document.getElementById('progress').value > {measured}")
        self.ready()


@pytest.fixture
def measuring(phantom: Path, tmp_path: Path) -> Iterator[Measuring]:
    running = Measuring(phantom, tmp_path / "readings")
    yield running
    running.kill()


@pytest.fixture
def page(browser: Any, measuring: Measuring) -> Iterator[Page]:
    context = browser.new_context(viewport=SCREEN)
    context.set_default_timeout(1000 * PATIENCE)
    opened = Page(context.new_page(), measuring.address)
    yield opened
    context.close()
    assert opened.errors == []


def ends(structure: str, axis: int) -> tuple[np.ndarray, np.ndarray]:
    half = np.zeros(3)
    half[axis] = RADII[structure][axis]
    return np.array(CENTRES[structure]) - half, np.array(CENTRES[structure]) + half


def draw_lines(page: Page, structure: str) -> None:
    page.press("l", "1")
    page.show(CENTRES[structure])
    page.drag(*ends(structure, 0))
    page.drag(*ends(structure, 1))
    page.press("2")
    page.show(CENTRES[structure])
    page.drag(*ends(structure, 2))


def draw_ellipses(page: Page, structure: str) -> None:
    page.press("e", "1")
    page.show(CENTRES[structure])
    page.drag(*ends(structure, 0))
    half = np.array(RADII[structure])
    x, y, z = CENTRES[structure]
    page.drag((x, y + 0.7 * half[0], z), ends(structure, 1)[1])  # the side, to fit
    page.press("2")
    page.show(CENTRES[structure])
    page.drag(*ends(structure, 2))


def count_points(page: Page, structure: str, step: str) -> None:
    page.press("p")
    page.page.fill("#every", "3")
    page.page.fill("#step", step)
    page.press("Enter")
    centre, radii = np.array(CENTRES[structure]), np.array(RADII[structure])
    grid = page.page.evaluate(
        """() => { const tool = app.tool, places = [];
        for (let at = 0; at < app.view.count; at++) for (let i = 0; i < 20; i++) for (let j = 0; j < 20; j++)
          if (tool.isCounted(at)) places.push([at, tool.mm(at, i, j)]); return places; }"""
    )
    inside = [(at, place) for at, place in grid if (((np.array(place) - centre) / radii) ** 2).sum() < 1]
    for at in sorted({at for at, _ in inside}):
        page.page.evaluate("async at => { await app.view.setSlice(at); }", at)
        rows: dict[float, list[Any]] = {}
        for row in [place for of, place in inside if of == at]:
            rows.setdefault(round(row[1], 3), []).append(row)
        for row in rows.values():
            page.drag(row[0], row[-1])


def test_each_method_gives_the_truth_by_mouse_and_init_reads_it(
    page: Page, measuring: Measuring, phantom: Path, tmp_path: Path
) -> None:
    page.sign_in("anna")
    ways = {"ball": draw_lines, "egg": draw_ellipses, "cyst": draw_lines}
    for structure in STRUCTURES:
        assert page.structure() == structure
        ways[structure](page, structure)
        page.save()
    for structure, step in zip(STRUCTURES, ("12", "8", "5"), strict=True):
        count_points(page, structure, step)
        page.save()
    assert "6 of 9" in page.page.inner_text("#progress-text")
    page.press("c")
    page.show(CENTRES["ball"])
    page.page.mouse.click(*page.screen(CENTRES["ball"]))
    page.save()
    page.press("t")
    page.measured(8)
    page.ready()
    page.press("a")
    page.measured(9)
    assert "All 9 are measured" in page.page.inner_text("#status")

    first, second, third = (
        next(row for row in measuring.table.rows if row.image == scan)
        for scan in dict.fromkeys(reading["scan"] for reading in measuring.readings)
    )
    for row in (first, second):
        for structure in STRUCTURES:
            assert row.sizes[structure].low <= VOLUMES[structure] <= row.sizes[structure].high
    values = {reading["structure"]: reading["value"] for reading in measuring.readings[:3]}
    assert values == pytest.approx(VOLUMES, rel=0.04)
    assert np.allclose(third.clicks["ball"], [CENTRES["ball"]], atol=1)
    assert "egg" not in third.sizes
    assert third.sizes["cyst"].high == 0
    assert all(reading["seconds"] > 0 for reading in measuring.readings[:6])  # a single key may take no tenth of one

    options = InitOptions(num_folds=2)
    prepared = init_cohort(phantom, tmp_path / "cohort", measuring.table, options, report=lambda line: None)
    data_list = json.loads((tmp_path / "cohort" / "datalist.json").read_text())
    assert [*data_list["labels"].values()][1:] == list(STRUCTURES)
    sizes = sorted((item["size"]["cyst"] for item in data_list["training"]), key=np.max)
    assert np.max(sizes[0]) == 0
    assert all(low <= VOLUMES["cyst"] <= high for low, high in sizes[1:])
    assert all(item["clicks"] for item in data_list["training"])
    assert not prepared.problems


def test_all_works_by_the_keyboard_alone(page: Page, measuring: Measuring) -> None:
    page.sign_in("ben")
    page.press("l", "Shift+ArrowLeft", "Enter", *["Shift+ArrowRight"] * 2, "Enter")  # 10 voxels to each side
    page.save()
    assert measuring.readings[0]["detail"] == "40.0 mm"
    page.press(
        "e",
        "Shift+ArrowLeft",
        "Enter",
        *["Shift+ArrowRight"] * 2,
        "Enter",
        "Shift+ArrowLeft",
        *["ArrowDown"] * 5,
        "Enter",
    )
    page.save()
    assert measuring.readings[1]["detail"] == "40.0 × 20.0 mm"
    page.press("p", "Enter", "ArrowRight", "Enter", "PageUp", "Enter", "Enter", "Enter")
    page.save()
    assert measuring.readings[2]["detail"] == "3 points on 2 slices"
    page.press("c", "ArrowUp", "Enter")
    page.save()
    page.press("1", "l", "Enter", "ArrowDown", "Enter")
    page.save()
    page.press("l", "Enter", "ArrowRight", "Enter", "z")  # the line
    assert page.page.evaluate("app.tool.geometry()") is None
    page.press("z")  # the last reading
    page.measured(4)
    assert measuring.readings[-1]["undo"] == measuring.readings[4]["id"]
    page.ready()
    page.press("p")
    page.page.locator("#canvas").focus()
    reached = set()
    for _ in range(30):
        page.press("Tab")
        reached.add(page.page.evaluate("document.activeElement.id || document.activeElement.dataset.tool || ''"))
    assert {"help-button", "step", "absent", "undo", "slice", "window", "zoom-fit"} <= reached


def test_a_reload_a_second_tab_and_a_killed_server_lose_nothing(page: Page, measuring: Measuring) -> None:
    page.sign_in("anna")
    page.press("1")
    page.show(CENTRES["ball"])
    page.drag(*ends("ball", 0))
    page.sized()
    drawn = page.page.evaluate("app.tool.geometry()")
    page.page.reload()
    page.ready()
    assert page.page.evaluate("app.tool.geometry()") == drawn
    page.save()

    other = Page(page.page.context.new_page(), measuring.address)
    other.page.fill("#reader", "anna")
    other.page.press("#reader", "Enter")
    other.until("!document.getElementById('sign-in-note').hidden")
    assert "Is that you?" in other.page.inner_text("#sign-in-note")
    other.page.click("#sign-in-go")
    other.ready()
    other.press("a")
    page.until("document.getElementById('structure').textContent == 'cyst'")
    assert "another tab" in page.page.inner_text("#status")
    other.page.close()
    assert other.errors == []

    page.ready()
    page.show(CENTRES["cyst"])
    page.drag(*ends("cyst", 0))
    page.sized()
    measuring.kill()
    page.press("s")
    page.until("document.getElementById('status').textContent.includes('Not saved yet')")
    page.page.wait_for_timeout(200)
    file = measuring.output / "readings_anna.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id": "cut off in the midst of')
    measuring.start()  # at the same address
    page.measured(3)
    assert [reading["structure"] for reading in measuring.readings] == list(STRUCTURES)


def test_pictures_have_ellipses_and_percentages(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    height, width = 200, 300
    rows, columns = np.mgrid[:height, :width]
    head = ((columns - 140) / 90) ** 2 + ((rows - 100) / 60) ** 2 < 1
    part = math.pi * 90 * 60 / (height * width)
    Image.fromarray((60 + 150 * head).astype(np.uint8)).save(tmp_path / "pictures" / "075_HC.png")
    Image.fromarray(np.stack([200 * head, 90 + 0 * head, 40 + 0 * head], -1).astype(np.uint8)).save(
        tmp_path / "pictures" / "colour.png"
    )
    running = Measuring(tmp_path / "pictures", tmp_path / "readings", ("head",))
    try:
        context = browser.new_context(viewport=SCREEN)
        page = Page(context.new_page(), running.address)
        page.sign_in("Anna B.")
        assert page.page.evaluate(FIRST_IS_LEFT)  # 075_HC.png, not HC.png_075
        page.press("e")
        page.drag((-50, -100, 0), (-230, -100, 0))
        page.drag((-140, -100 - 0.7 * 90, 0), (-140, -160, 0))
        page.save()
        assert page.page.evaluate(FIRST_IS_LEFT)
        page.press("r")
        page.page.mouse.click(*page.screen((-140, -100, 0)))
        page.drag((-145, -100, 0), (-140, -100, 0))  # misses the edge
        page.page.wait_for_timeout(100)
        assert page.page.is_disabled("#save")
        page.drag((-140 - math.sqrt(0.05 * height * width / math.pi), -100, 0), (-140 - math.sqrt(90 * 60), -100, 0))
        page.sized()
        page.press("]", "[")
        page.save()
        assert "All 2 are measured" in page.page.inner_text("#status")
        assert page.page.evaluate("app.tool.geometry()") is None
        assert page.page.is_enabled("#absent")
        context.close()
    finally:
        running.kill()
    assert {reading["reader"] for reading in running.readings} == {"Anna B."}
    assert {column.kind for column in running.table.columns if column.structure} == {"fraction", "click_mm"}
    assert [reading["length_unit"] for reading in running.readings] == ["px", "px"]
    assert [reading["value"] for reading in running.readings] == pytest.approx([part, part], rel=0.05)
    for row in running.table.rows:
        assert row.sizes["head"].unit == "fraction"
        assert row.sizes["head"].low <= part <= row.sizes["head"].high
    options = InitOptions(num_folds=2)
    init_cohort(tmp_path / "pictures", tmp_path / "cohort", running.table, options, report=lambda line: None)
    items = json.loads((tmp_path / "cohort" / "datalist.json").read_text())["training"]
    assert len(items) == 2
    for item in items:
        assert np.min(item["slice_size"]["head"]) <= part * height * width <= np.max(item["slice_size"]["head"])


def test_a_scan_has_percentages_of_its_slices(page: Page, measuring: Measuring) -> None:
    page.sign_in("anna")
    page.press("r")
    page.page.fill("#every", "4")
    page.press("Enter")
    x, y, z = CENTRES["ball"]
    radius = RADII["ball"][0]
    counted = page.page.evaluate(
        """() => [...Array(app.view.count).keys()].filter((at) => app.tool.isCounted(at))
        .map((at) => [at, app.view.toMm([0, 0, at])[2]])"""
    )
    through = [(at, math.sqrt(radius**2 - (of - z) ** 2), of) for at, of in counted if abs(of - z) < radius]
    for at, wanted, of in through:
        page.page.evaluate("async at => { await app.view.setSlice(at); }", at)
        page.page.mouse.click(*page.screen((x, y, of)))
        assert page.page.is_disabled("#save")  # nobody has sized this disc yet
        page.drag((x + page.page.evaluate("app.tool.radius"), y, of), (x + wanted, y, of))
        page.sized()
    page.page.reload()
    page.ready()
    page.sized()
    page.press("z", "z")  # the last disc: its size, and its place
    page.until("document.getElementById('detail').textContent == " + repr(f"discs on {len(through) - 1} slices"))
    page.page.evaluate("async at => { await app.view.setSlice(at); }", through[-1][0])
    page.page.fill("#percent", str(100 * math.pi * through[-1][1] ** 2 / page.page.evaluate("app.tool.area")))
    page.press("Enter")
    page.until("document.getElementById('detail').textContent == " + repr(f"discs on {len(through)} slices"))
    page.save()
    (reading,) = measuring.readings
    assert reading["geometry"]["method"] == "percent_of_slices"
    assert reading["value"] == pytest.approx(VOLUMES["ball"], rel=0.08)
    row = next(row for row in measuring.table.rows if row.image == reading["scan"])
    assert row.sizes["ball"].low <= VOLUMES["ball"] <= row.sizes["ball"].high


def test_the_boxes_show_what_is_recorded_and_say_why_a_number_is_refused(page: Page) -> None:
    def shown() -> dict[str, Any]:
        return page.page.evaluate(
            """() => { const of = (id) => document.getElementById(id), { tool, view } = app; return { disc: tool.disc,
            slice: view.at[2], hint: of("hint").textContent, box: of("percent").value, every: of("every").value }; }"""
        )

    page.sign_in("anna")
    page.press("r")
    first = shown()["slice"]
    page.press("Shift+ArrowLeft", "Enter")
    place = shown()["disc"]["at"]
    for typed in ("12", "", "15"):
        page.page.fill("#percent", typed)
    page.press("Enter")
    assert (shown()["box"], shown()["disc"]) == ("15", {"slice": first, "percent": 15, "at": place, "sized": True})
    for typed in ("150", "0", "-3", "1e-9", ""):
        page.page.fill("#percent", typed)
        assert "from 0.01 to 100" in shown()["hint"]
        page.press("Enter")
        assert (shown()["box"], shown()["disc"]["percent"]) == ("15", 15)
    for typed in ("1000", "0"):
        page.page.fill("#every", typed)
        page.press("Enter")
        assert f"from 1 to {SHAPE[2]}" in shown()["hint"]
        assert shown()["every"] == "2"

    page.page.evaluate("async () => { await app.view.setSlice(app.view.at[2] + 1); }")
    page.page.fill("#percent", "20")
    assert "not counted" in shown()["hint"]
    page.press("Enter")
    assert shown()["box"] == ""

    page.press("PageDown")
    page.page.fill("#percent", "18")
    box = page.page.locator("#percent").bounding_box()
    page.page.mouse.move(box["x"] + 9, box["y"] + 9)
    page.page.mouse.wheel(0, -60)
    page.until(f"app.view.at[2] == {first + 2}")
    assert shown()["box"] == ""
    page.page.mouse.wheel(0, 60)
    page.until(f"app.view.at[2] == {first}")
    assert (shown()["box"], shown()["disc"]["at"]) == ("18", place)

    page.press("Enter", "Enter", "PageUp", "Enter", "PageUp")
    assert f"The disc of slice {first + 3} has no size yet" in shown()["hint"]
    assert page.page.is_disabled("#save")
    page.press("PageDown", "Delete", "PageUp", "]")
    page.until("document.getElementById('detail').textContent.includes('2 slices, none on slice')")
    held = page.page.evaluate(
        """() => { const { tool, view } = app, [x, ...others] = tool.disc.at;
        tool.press([0, 0], [x + tool.radius + 18 / view.zoom, ...others], 26); // by a finger
        const { held } = tool; tool.release(); return held; }"""
    )
    assert held == "edge"
    page.save()
    page.press("b")
    page.ready()
    assert page.page.evaluate(OVERLAPS) == []


def test_undo_takes_the_last_change_back_and_drafts_keep_each_method(page: Page) -> None:
    slices = "app.tools.percent.state.discs.map(({ slice }) => slice)"
    page.sign_in("anna")
    page.press("r", "]", "PageUp", "]", "PageUp", "]", "]")
    drawn = page.page.evaluate(slices)
    assert len(drawn) == 3
    page.page.fill("#every", "4")
    page.press("Enter")
    assert page.page.evaluate(slices) in (drawn[::2], drawn[1::2])
    page.press("z")
    assert page.page.evaluate(f"[{slices}, document.getElementById('every').value]") == [drawn, "2"]

    page.press("l", "1")
    page.show(CENTRES["ball"])
    page.drag(*ends("ball", 0))
    page.page.reload()
    page.ready()
    assert page.page.evaluate("[app.toolName, app.tool.geometry().lines.length]") == ["lines", 1]
    page.press("r", "2", "z")
    size, slice_shown = page.page.evaluate("[app.tool.state.discs[2].percent, app.view.at[app.view.axis]]")
    assert (size, slice_shown) == (pytest.approx(5 * 1.1**3, rel=0.01), drawn[2])
    page.press("z")
    assert page.page.evaluate(slices) == drawn[:2]
    page.press("l", "z")
    assert page.page.evaluate("app.tool.geometry()") is None

    for unfit in (
        "draft.of = draft.of.replace('80', '81')",
        "draft = { tool: 'lines', state: { lines: [] }, seconds: 1 }",
    ):
        page.press("r", "]")
        page.page.evaluate(
            f"""() => {{ const key = app.draftKey(app.task); let draft = JSON.parse(localStorage.getItem(key));
            {unfit}; localStorage.setItem(key, JSON.stringify(draft)); }}"""
        )
        page.page.reload()
        page.ready()
        assert page.page.evaluate("Object.values(app.tools).every((tool) => tool.geometry() === null)")


def test_a_name_that_measures_elsewhere_and_a_scan_that_cannot_be_read(
    browser: Any, phantom: Path, tmp_path: Path
) -> None:
    cohort = tmp_path / "scans"
    shutil.copytree(phantom, cohort)
    for file in cohort.glob("*.nii"):
        file.write_bytes(file.read_bytes()[:1000])
    running = Measuring(cohort, tmp_path / "readings")
    second = Measuring(cohort, tmp_path / "readings")
    try:
        context = browser.new_context(viewport={"width": 820, "height": 1180}, has_touch=True)
        page, other = (Page(context.new_page(), address) for address in (running.address, second.address))
        page.page.fill("#reader", "anna")
        page.page.tap("#sign-in-go")
        page.page.wait_for_selector("#trouble:visible")
        assert "Is the file complete?" in page.page.inner_text("#trouble")
        assert page.page.is_disabled("#absent")
        page.page.locator("#canvas").focus()
        page.page.evaluate("async () => { window.app = (await import('./app.js')).app; }")
        for key, tool in (("p", "points"), ("r", "percent"), ("e", "ellipse")):
            page.press(key, "[", "]", "w", "ArrowLeft", "Enter", "Delete", "PageUp", "1", "2", "0")
            assert page.page.evaluate("app.toolName") == tool
        assert page.page.locator("main :is(input, select):enabled").count() == 0
        page.page.tap("#cannot-tell")
        page.measured(1)
        other.page.fill("#reader", "Anna")
        other.page.tap("#sign-in-go")
        other.page.wait_for_selector("#sign-in-note:visible")
        assert "is measuring already" in other.page.inner_text("#sign-in-note")
        context.close()
        assert page.errors == other.errors == []
    finally:
        running.kill()
        second.kill()


def test_touch_draws_and_colours_have_contrast(browser: Any, measuring: Measuring) -> None:
    context = browser.new_context(viewport={"width": 1024, "height": 768}, has_touch=True)
    page = Page(context.new_page(), measuring.address)
    page.sign_in("ben")
    page.page.tap("[data-tool=click]")
    page.page.touchscreen.tap(*page.screen(CENTRES["ball"]))
    page.sized()
    faint = page.page.evaluate(CONTRASTS)
    assert min(faint.values()) >= 4.5, {text: ratio for text, ratio in faint.items() if ratio < 4.5}
    overflow = page.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0
    page.page.set_viewport_size({"width": 1300, "height": 768})
    rows = "['slice-down', 'zoom-in'].map((id) => document.getElementById(id).getBoundingClientRect().top)"
    page.until(f"Math.abs({rows}.reduce((a, b) => a - b)) < 2")
    context.close()
    assert page.errors == []


OVERLAPS = """() => {
  const shown = [...document.querySelectorAll(".panel > *")].filter((e) => e.checkVisibility());
  return shown.filter((e, i) => e.scrollHeight > e.clientHeight + 1 ||
    shown[i + 1]?.getBoundingClientRect().top < e.getBoundingClientRect().bottom).map((e) => e.id || e.className);
}"""

FIRST_IS_LEFT = """() => {
  const text = document.getElementById("scan-name").firstChild, left = (at) => {
    const range = document.createRange(); range.setStart(text, at); range.setEnd(text, at + 1);
    return range.getBoundingClientRect().left; };
  return !text.data.startsWith("075") || left(0) < left(4);
}"""

CONTRASTS = """() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => { const f = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const behind = (e) => { for (; e; e = e.parentElement) { const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c; } return [0, 0, 0]; };
  const found = {};
  for (const e of document.querySelectorAll("header *, main *")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.matches("option, :disabled, :disabled *")) continue;
    const [a, b] = [light(parts(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    found[e.textContent.trim().slice(0, 30)] = (a + 0.05) / (b + 0.05);
  }
  return found;
}"""

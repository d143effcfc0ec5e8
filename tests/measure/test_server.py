"""The server of the page: who is let in, and what is kept."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medsize.cli import app
from medsize.measure.geometry import Absent
from medsize.measure.readings import ReadingsFile
from medsize.measure.run import measure_cohort
from medsize.measure.server import MeasureServer
from medsize.measure.session import MeasureSession
from medsize.sizes.table.read import read_size_table

SCANS = ("images/phantom_000.nii.gz", "images/phantom_001.nii.gz")
LINE = [[0.0, 0.0, 0.0], [30.0, 0.0, 0.0]]


@pytest.fixture
def cohort(phantoms: Path, tmp_path: Path) -> Path:
    for name in SCANS:
        (tmp_path / "scans" / "images").mkdir(parents=True, exist_ok=True)
        shutil.copy(phantoms / name, tmp_path / "scans" / name)
    return tmp_path / "scans"


@pytest.fixture
def serve(cohort: Path) -> Iterator[Callable[..., MeasureServer]]:
    servers = []

    def start(structures: tuple[str, ...] = ("liver", "kidney"), **options: Any) -> MeasureServer:
        server = measure_cohort(cohort, structures, **options)
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        stop(server)


def stop(server: MeasureServer) -> None:
    server.shutdown()
    server.server_close()
    server.session.close()


def ask(
    server: MeasureServer, path: str, body: Any = None, token: str | None = None, **headers: str
) -> tuple[int, dict[str, Any]]:
    """Send a request as it is, without a client's tidying of paths."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    sent = {"Content-Type": "application/json"} if body is not None else {}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    text = json.dumps(body) if body is not None and not isinstance(body, str) else body
    connection.request("GET" if body is None else "POST", f"/{token or server.token}/{path}", text, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if answer.headers["Content-Type"] == "application/json" else {}


def reading(name: str = SCANS[0], structure: str = "liver", id: str = "reading-1", **others: Any) -> dict[str, Any]:
    geometry = {"method": "lines", "lines": [LINE]}
    return {
        "reader": "anna",
        "name": name,
        "structure": structure,
        "geometry": geometry,
        "seconds": 7,
        "id": id,
    } | others


def test_only_the_page_is_let_in(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    assert server.server_address[0] == "127.0.0.1"
    assert ask(server, "start")[0] == 200
    assert ask(server, "start", Origin=f"http://127.0.0.1:{server.server_port}")[0] == 200
    assert ask(server, "start", token="wrong")[0] == 403
    assert ask(server, "", token=" ".strip() or "x")[0] == 403
    assert ask(server, "start", Host="rebound.example")[0] == 403
    assert ask(server, "start", Origin="https://elsewhere.example")[0] == 403
    assert ask(server, "start", Origin="null")[0] == 403
    assert ask(server, "start", Sec_Fetch_Site="cross-site")[0] == 403
    assert ask(server, "save", reading(), Origin="https://elsewhere.example")[0] == 403
    assert ask(server, "save", reading(), Content_Type="text/plain")[0] == 415  # a form of another page


@pytest.mark.parametrize(
    "path",
    [
        "../../etc/passwd",
        "..%2f..%2fetc/passwd",
        "page/../server.py",
        "/etc/passwd",
        "server.py",
        "%2e%2e/scans",
        "style.css%00",
    ],
)
def test_no_path_leads_out(serve: Callable[..., MeasureServer], path: str) -> None:
    assert ask(serve(), path)[0] == 404


@pytest.mark.parametrize("query", ["scan=-1", "scan=9", "scan=../x", "scan=", ""])
def test_scans_are_numbers_of_the_cohort(serve: Callable[..., MeasureServer], query: str) -> None:
    assert ask(serve(), f"scan?{query}")[0] in (400, 422)
    assert ask(serve(), f"slice?{query}&axis=2&at=0")[0] in (400, 422)


@pytest.mark.parametrize(
    "fault",
    [
        {"geometry": {"method": "lines", "lines": []}},
        {"geometry": {"method": "lines", "lines": [[[0, 0, 0], [float("nan"), 0, 0]]]}},
        {"geometry": {"method": "draw"}},
        {"geometry": {"method": "points", "step": 5, "every": True, "points": [[0, 0, 0]]}},
        {"geometry": {"method": "points", "step": 5, "every": 1000, "points": [[0, 0, 0]]}},
        {"geometry": {"method": "percent_of_slices", "every": 1, "discs": [{"percent": True, "at": [0, 0, 0]}]}},
        {"structure": "spleen"},
        {"name": 7},
        {"seconds": -1},
        {"reader": "../anna"},
        {"reader": ""},
        {"id": "../x"},
        {"more": 1},
    ],
)
def test_what_is_no_reading_is_refused(serve: Callable[..., MeasureServer], fault: dict[str, Any]) -> None:
    server = serve()
    status, answer = ask(server, "save", reading(**fault))
    assert status in (400, 422)
    assert answer["error"]
    assert not list(server.session.output_dir.glob("*"))


def test_a_reading_is_kept_and_taken_back(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    _, start = ask(server, "reader", {"reader": "Anna"})
    assert (start["measured"], start["total"]) == (0, 4)
    _, saved = ask(server, "save", reading())
    assert (saved["measured"], saved["reading"]["geometry"]["lines"]) == (1, [LINE])
    again = ask(server, "save", reading())[1]  # sent twice, as after a broken connection
    assert again["measured"] == 1
    file = server.session.output_dir / "readings_anna.jsonl"
    assert len(file.read_text().splitlines()) == 1
    row = read_size_table(server.session.output_dir / "sizes.csv").rows[0]
    assert row.image == server.session.scans[0].name
    assert row.sizes["liver"].low < saved["reading"]["value"] < row.sizes["liver"].high
    assert row.clicks["liver"] == [[[3, 0, 0], [27, 0, 0]]]
    ask(server, "save", reading(geometry={"method": "absent"}, id="reading-2"))
    assert read_size_table(server.session.output_dir / "sizes.csv").rows[0].sizes["liver"].high == 0
    undone = ask(server, "undo", {"reader": "anna"})[1]
    assert undone["reading"]["id"] == "reading-1"  # it counts again
    assert ask(server, "undo", {"reader": "anna"})[1]["measured"] == 0
    assert ask(server, "undo", {"reader": "anna"})[1]["name"] is None
    status, answer = ask(server, "save", reading())  # sent again by a page that had no answer
    assert status == 422
    assert "was taken back" in answer["error"]
    assert len(file.read_text().splitlines()) == 4  # nothing is ever removed


def test_a_second_reader_sees_nothing_of_the_first_and_another_order(serve: Callable[..., MeasureServer]) -> None:
    server = serve(structures=tuple("abcdef"))
    ask(server, "save", reading(structure="a"))
    other = ask(server, "reader", {"reader": "ben"})[1]
    assert other["measured"] == 0
    assert not any(task["reading"] for task in other["tasks"])
    orders = {tuple(t["scan"] for t in ask(server, "reader", {"reader": f"r{n}"})[1]["tasks"]) for n in range(12)}
    assert len(orders) == 2
    assert ask(server, "reader", {"reader": "anna", "round": 2})[1]["measured"] == 0
    ask(
        server,
        "save",
        reading(
            structure="a", reader="ben", geometry={"method": "lines", "lines": [[LINE[0], [60, 0, 0]]]}, id="reading-2"
        ),
    )
    row = read_size_table(server.session.output_dir / "sizes.csv").rows[0]
    assert row.sizes["a"].high == pytest.approx(8 * row.sizes["a"].low * 10, rel=1e-4)  # from the lowest to the highest


def test_one_name_measures_in_one_process_only(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    other = ReadingsFile(server.session.output_dir, "ANNA")
    status, answer = ask(server, "reader", {"reader": "anna"})
    assert status == 422
    assert "'anna' is measuring already" in answer["error"]
    other.close()
    assert ask(server, "reader", {"reader": "anna"})[0] == 200


def test_a_line_cut_off_by_a_kill_is_lost_alone(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    ask(server, "save", reading())
    stop(server)
    file = server.session.output_dir / "readings_anna.jsonl"
    file.write_bytes(file.read_bytes() + b'{"id": "reading-2", "rea')
    server = serve()
    assert ask(server, "reader", {"reader": "anna"})[1]["measured"] == 1
    ask(server, "save", reading(structure="kidney", id="reading-3"))
    assert len([json.loads(line) for line in file.read_text().splitlines()]) == 2


def test_a_broken_file_of_readings_is_named(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    server.session.output_dir.mkdir()
    (server.session.output_dir / "readings_anna.jsonl").write_text('{"id": 1}\n')
    status, answer = ask(server, "reader", {"reader": "anna"})
    assert status == 422
    assert "line 1 is not a reading" in answer["error"]


def test_undo_takes_back_no_reading_of_another_structure_or_scan(
    serve: Callable[..., MeasureServer], cohort: Path
) -> None:
    server = serve(("kidney",))
    ask(server, "save", reading(structure="kidney"))
    ask(server, "save", reading(SCANS[1], "kidney", "reading-2"))
    stop(server)
    server = serve(("spleen",))
    assert ask(server, "undo", {"reader": "anna"})[1]["name"] is None
    stop(server)
    (cohort / SCANS[1]).unlink()
    server = serve(("kidney",))
    assert ask(server, "undo", {"reader": "anna"})[1]["name"] == SCANS[0]


def test_the_table_holds_what_other_sessions_measured(serve: Callable[..., MeasureServer], cohort: Path) -> None:
    server = serve(("liver", "Left kidney"))
    ask(server, "save", reading(structure="liver"))
    ask(server, "save", reading(SCANS[1], "Left kidney", "reading-2"))
    stop(server)
    server = serve(("left kidney",))
    ask(server, "save", reading(structure="left kidney", id="reading-3"))
    first, second = read_size_table(server.session.output_dir / "sizes.csv").rows
    assert [list(row.sizes) for row in (first, second)] == [["left kidney", "liver"], ["left kidney"]]
    stop(server)
    (cohort / SCANS[1]).unlink()
    server = serve(("left kidney",))
    note = ask(server, "save", reading(structure="left kidney", id="reading-4"))[1]["note"]
    assert note == f"Left out of the table: {SCANS[1]}, not in {cohort} any more."
    assert len(read_size_table(server.session.output_dir / "sizes.csv").rows) == 1


def test_a_reading_reaches_its_scan_though_another_was_added(serve: Callable[..., MeasureServer], cohort: Path) -> None:
    shutil.copy(cohort / SCANS[1], cohort / "a.nii.gz")
    server = serve()
    absent = {"method": "absent"}
    assert ask(server, "save", reading(geometry=absent))[0] == 200
    assert server.session.output_dir.joinpath("readings_anna.jsonl").read_text().count(SCANS[0]) == 1
    tasks = ask(server, "reader", {"reader": "anna"})[1]["tasks"]
    assert [(task["name"], task["structure"]) for task in tasks if task["reading"]] == [(SCANS[0], "liver")]
    status, answer = ask(server, "save", reading("elsewhere.nii.gz", geometry=absent, id="reading-2"))
    assert status == 409
    assert "elsewhere.nii.gz: found no such scan" in answer["error"]


def test_a_scan_that_has_changed_is_not_measured(serve: Callable[..., MeasureServer], cohort: Path) -> None:
    server = serve()
    state = ask(server, "scan?scan=0")[1]["state"]
    shutil.copy(cohort / "images" / "phantom_001.nii.gz", cohort / "images" / "phantom_000.nii.gz")
    for faulty in (reading(state=state), reading(state=state, geometry={"method": "absent"})):
        status, answer = ask(server, "save", faulty)
        assert status == 409
        assert "has changed" in answer["error"]
    assert ask(server, "save", reading(state=state, geometry={"method": "cannot_tell"}))[0] == 200
    (cohort / "images" / "phantom_000.nii.gz").unlink()
    assert "not there any more" in ask(server, "scan?scan=0")[1]["error"]


def test_a_scan_that_cannot_be_read_says_so_and_can_be_passed_over(
    serve: Callable[..., MeasureServer], cohort: Path
) -> None:
    file = cohort / "images" / "phantom_000.nii.gz"
    file.write_bytes(file.read_bytes()[:500])
    server = serve()
    status, answer = ask(server, "scan?scan=0")
    assert status == 422
    assert "Is the file complete?" in answer["error"]
    assert ask(server, "save", reading())[0] == 422
    assert ask(server, "save", reading(geometry={"method": "absent"}, id="reading-absent"))[0] == 422
    assert ask(server, "save", reading(geometry={"method": "cannot_tell"}))[1]["measured"] == 1


def test_a_table_edited_by_hand_is_kept(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    ask(server, "save", reading())
    table = server.session.output_dir / "sizes.csv"
    edited = table.read_text().replace("anna", "Anna B.")
    table.write_text(edited)
    answer = ask(server, "save", reading(structure="kidney", id="reading-2"))[1]
    assert "edited by hand" in answer["note"]
    assert table.read_text() == edited
    assert len(read_size_table(table.with_name("sizes_of_readings.csv")).rows[0].sizes) == 2


def test_readings_are_not_written_to_a_folder_that_was_moved_away(
    serve: Callable[..., MeasureServer], tmp_path: Path
) -> None:
    server = serve()
    ask(server, "save", reading())
    folder = server.session.output_dir
    folder.rename(tmp_path / "elsewhere")
    status, answer = ask(server, "save", reading(structure="kidney", id="reading-2"))
    assert status == 507  # the page keeps it, and sends it again
    assert "moved or replaced" in answer["error"]
    (tmp_path / "elsewhere").rename(folder)
    assert ask(server, "save", reading(structure="kidney", id="reading-2"))[1]["measured"] == 2


def test_a_file_of_readings_that_cannot_be_read_is_told(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    (server.session.output_dir / "readings_ben.jsonl").mkdir(parents=True)
    status, answer = ask(server, "save", reading())
    assert status == 507
    assert "readings_ben.jsonl" in answer["error"]


def test_readers_in_several_processes_share_one_table(serve: Callable[..., MeasureServer]) -> None:
    sessions = [serve().session for _ in range(3)]

    def measure(session: MeasureSession, reader: str) -> None:
        for n in range(12):
            session.save(reader, 1, SCANS[n % 2], "liver", Absent(), 1.0, f"{reader}-{n:03d}")

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(measure, sessions, ("reader-a", "reader-b", "reader-c")))
    assert sessions[0].write_table() == ""  # nothing was taken for an edit by hand
    assert [file.name for file in sessions[0].output_dir.glob("sizes*")] == ["sizes.csv"]


def test_a_server_started_again_has_the_same_address(serve: Callable[..., MeasureServer]) -> None:
    server = serve()
    stop(server)
    assert serve().address == server.address


def test_structures_must_be_named_and_the_output_is_outside(cohort: Path) -> None:
    with pytest.raises(ValueError, match="found no mask that names structures"):
        measure_cohort(cohort)
    with pytest.raises(ValueError, match="expected different names"):
        measure_cohort(cohort, ["liver", "Liver"])
    with pytest.raises(ValueError, match="expected outside of it"):
        measure_cohort(cohort, ["liver"], cohort / "out")


def test_the_command_prints_the_address_and_what_to_do_next(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cohort / "screenshot.png").write_bytes(b"")

    def interrupted(server: MeasureServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(MeasureServer, "serve_forever", interrupted)
    output = tmp_path / "readings"
    options = ["--structure", "liver", "--output", str(output), "--no-browser"]
    result = CliRunner().invoke(app, ["measure", str(cohort), *options])
    assert result.exit_code == 0
    assert "2 scans, liver." in result.output
    assert "screenshot.png: it is a picture beside volumes" in result.output
    assert "http://127.0.0.1:" in result.output
    refused = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["measure", str(cohort), "--output", str(cohort / "in")])
    assert refused.exit_code == 2
    assert "outside of it" in refused.output

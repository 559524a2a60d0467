"""What can't be kept in a journal isn't printed, and nobody gets around the gate by damaging it."""

from pathlib import Path

from octoprint_imprimatur.service import JOURNAL
from support.octoprint import gcode_lines, running_octoprint, wait_for


def test_a_damaged_journal_leaves_the_gate_closed(tmp_path: Path) -> None:
    """OctoPrint switches a plugin off that fails while it starts, with all its hooks."""
    folder = tmp_path / "data" / "imprimatur"
    folder.mkdir(parents=True)
    (folder / JOURNAL).write_bytes(b"not a database, but as long as the header of one is" * 20)
    with running_octoprint(tmp_path, {}) as octoprint:
        mark, own = octoprint.mark(), "G28\nG1 X9 Y9 E9\n"
        assert octoprint.upload("own.gcode", own, print="true").status_code == 409
        octoprint.command("M24", "G1 X9 Y9 E9")
        octoprint.command("M117 the end")
        wait_for("The last one came", lambda: "M117 the end" in octoprint.received(mark), 15, 0.02)
        assert not {"M24", *gcode_lines(own)} & set(octoprint.received(mark))

        for path in ("licenses", "jobs", "setup"):
            answer = octoprint.request("GET", f"/plugin/imprimatur/{path}")
            assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "not_started")
        answer = octoprint.print_license(7)
        assert (answer.status_code, answer.json()["reason"]["key"]) == (409, "not_started")

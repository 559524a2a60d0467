"""Which lines may leave, as pure rules."""

import pytest

from octoprint_imprimatur.policy import ExtrusionWatch, Job, Source, codes, judge, refusal

SD_STARTS = [
    "M24",
    "m24",
    "M024",
    " M24",
    "N5 M24",
    "N5 M24*83",
    "M24;x",
    "M24 ; resume",
    "M 24",
    "M23 part.gco",
    "M32 part.gco",
    "M28 part.gco",
    "M105\nM24",
    "M105\rM24",
    "N1 N2 M24",
    "M24.0",
]


@pytest.mark.parametrize("line", SD_STARTS)
@pytest.mark.parametrize("job", list(Job))
def test_a_card_print_can_be_started_by_no_spelling(line: str, job: Job) -> None:
    assert judge(line, Source.OTHER, job).reason == "command_refused"


@pytest.mark.parametrize(
    "line",
    [
        "G1 X10 Y5 E1",
        "g01x10e1",
        "G0 X1 E1",
        "G2 I1 J2 E3",
        "G 1 Y3 E.5",
        "N3 G1 X1 E2",
        "X1 Y2 E3",
        "M105\nG1 X1 E1",
    ],
)
def test_moves_that_print_are_refused_outside_a_licensed_job(line: str) -> None:
    assert refusal(line).reason == "move_refused"


@pytest.mark.parametrize(
    "line",
    [
        "G1 X10 Y5 F3000",
        "G1 E5 F300",
        "G28",
        "M104 S200",
        "M140 S60",
        "M105",
        "M110 N0",
        "M25",
        "M27",
        "M112",
        "M117 X1 E2",
        "@pause",
        "; G1 X1 E1",
        "G92 X0 E0",
        "M240",
        "M2400",
    ],
)
def test_what_is_done_by_hand_stays_possible(line: str) -> None:
    assert refusal(line).allowed


@pytest.mark.parametrize("source", [Source.FILE, Source.JOB, Source.ENDING])
def test_a_licensed_job_passes_untouched(source: Source) -> None:
    assert judge("G1 X1 E1", source, Job.LICENSED).allowed


@pytest.mark.parametrize("job", [Job.NONE, Job.UNLICENSED])
def test_a_line_of_another_file_ends_the_job(job: Job) -> None:
    verdict = judge("M117 hello", Source.FILE, job)
    assert verdict.reason == "start_refused"
    assert verdict.cancel


def test_heating_scripts_of_another_job_are_held_back_and_parking_ones_are_not() -> None:
    assert judge("M104 S210", Source.JOB, Job.UNLICENSED).cancel
    assert judge("M104 S0", Source.ENDING, Job.UNLICENSED).allowed


def test_the_terminal_cant_print_in_the_shadow_of_a_licensed_job() -> None:
    assert judge("G1 X1 E1", Source.OTHER, Job.LICENSED).reason == "move_refused"


def test_one_spelling() -> None:
    (code,) = codes("N12 g01 x1.5 e-.25 ; c*5")
    assert (code.name, code.words) == ("G1", {"X": 1.5, "E": -0.25})


@pytest.mark.parametrize(
    ("lines", "first"),
    [
        (["M83", "G28", "G1 E-2", "G1 X1 E.1"], 3),
        (["G92 E0", "G1 Z5", "G1 E5", "G1 X1 E6"], 2),
        (["M82", "G92 E10", "G1 X1 E8", "G1 X2 E9"], 3),
        (["M109 S200", "G1 X50 F9000", "G0 Z.2"], None),
        (["M83", "G2 X1 I1 E1"], 1),
    ],
)
def test_the_copy_is_used_at_the_first_line_that_feeds(lines: list[str], first: int | None) -> None:
    watch = ExtrusionWatch()
    fed = [number for number, line in enumerate(lines) if watch.feeds(line)]
    assert fed[:1] == ([] if first is None else [first])

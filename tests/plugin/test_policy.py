"""Which lines may leave, as pure rules."""

import pytest

from octoprint_imprimatur.policy import (
    LICENSED_AND_FREE,
    LICENSED_ONLY,
    LONGEST,
    TURNS,
    TURNS_WITHIN,
    ExtrusionWatch,
    Job,
    Source,
    TurnWatch,
    card_written,
    codes,
    frees,
    judge,
    refusal,
    understood,
)

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
    "X1 M24",
    "M105 M24",
    "G91 M24",
    'M98 P"part.g"',
    "M928 log.gco",
    "M1000",
    "SDCARD_PRINT_FILE FILENAME=part.gcode",
    "sdcard_print_file filename=part.gcode",
    "play /sd/part.gcode",
    "M810 M23 part.gco|M24",
    "M105 (M24)",
    "(M24)",
    "((x) M24)",
    "(x) M24",
    "M105 \\; M24",
    'M471 S"part.g" T"bed.g"',
    'M559 P"bed.g"',
    'echo >"bed.g" "G1 X1 E1"',
    "M117 " + LONGEST * "x",
    (LONGEST + 1) * "(",
    300 * "M810 ",
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
        "G91 G1 X1 E1",
        "M810 G1 X1 E1|G28",
        "M819 G28|X1 E1",
        "G1X1E1",
        "G1X1(no remark to Marlin)(E1)",
        "G1 X1 \\;E1",
        "G1 X{5+5} E{move.axes[0].max}",
        "S0 X1 E1",
        "G3 R5 E1",
        "G18\nG2 K5 E1",
        "M105*1\nG1 X1 E1*2",
        "N1N2G1X1E1*33",
        "G1\u00a0X\u0661 E1",
        "G61 X Y E S1",
        "g61xye",
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
        "M117 then M24, G1 X1 E2",
        "M118 A1 action:start",
        "M810 G28|M105",
        "M810",
        "M600 X10 E-2",
        "G28 X0 Y0",
        "display part",
        "G1 X5 (then E)",
        "G1 Z5 ; X1 E2",
        "SET_VELOCITY_LIMIT ACCEL=5",
        "G61 XY S1",
        "G60 S1",
        "G42 I1 J2",
    ],
)
def test_what_is_done_by_hand_stays_possible(line: str) -> None:
    assert refusal(line).allowed


@pytest.mark.parametrize("source", [Source.FILE, Source.JOB, Source.ENDING])
@pytest.mark.parametrize("job", [Job.LICENSED, Job.FREE])
def test_a_job_that_may_print_passes_untouched(source: Source, job: Job) -> None:
    assert judge("G1 X1 E1", source, job).allowed


@pytest.mark.parametrize("source", [Source.FILE, Source.JOB])
def test_a_licensed_file_that_may_not_print_is_ended_and_not_called_an_own_one(source: Source) -> None:
    verdict = judge("G28", source, Job.OVER)
    assert (verdict.reason, verdict.cancel) == ("restart_refused", True)
    assert judge("M104 S0", Source.ENDING, Job.OVER).allowed


@pytest.mark.parametrize("job", list(Job))
def test_own_files_are_freed_by_one_policy_and_nothing_around_a_licensed_job(job: Job) -> None:
    assert not frees(LICENSED_ONLY, job)
    assert frees(LICENSED_AND_FREE, job) == (job not in (Job.LICENSED, Job.OVER))


@pytest.mark.parametrize("setting", [None, "", "free", 1, True, [], {}, "LICENSED_AND_FREE", LICENSED_ONLY])
def test_a_policy_that_isnt_understood_is_the_stricter_one(setting: object) -> None:
    assert understood(setting) == LICENSED_ONLY


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


@pytest.mark.parametrize("source", [Source.JOB, Source.ENDING])
def test_scripts_around_a_licensed_job_prime_and_park_but_start_nothing_else(source: Source) -> None:
    assert judge("G1 X100 E15", source, Job.LICENSED).allowed
    verdict = judge("M24", source, Job.LICENSED)
    assert (verdict.reason, verdict.cancel) == ("command_refused", False)


@pytest.mark.parametrize(
    "turn",
    [
        ("G1 X1", "G1 E1"),
        ("G1 X1\nG1 E1",),
        ("G0 Y5", "G10", "G11"),
        ("G61 XY S1", "G1 E1"),
        ("G42 I1 J2", "G1 E1"),
        ("M125 X5 Y5", "G1 E1"),
    ],
)
def test_a_print_that_is_taken_apart_doesnt_leave(turn: tuple[str, ...]) -> None:
    watch = TurnWatch()
    left = [line for second in range(5 * TURNS) for line in turn if watch.judge(line, second / 10).allowed]
    assert len([line for line in left if "E1" in line or line == "G11"]) <= TURNS
    # Somebody who extrudes by hand later isn't that.
    assert all(watch.judge(line, TURNS_WITHIN + 5 * TURNS).allowed for line in turn)


def test_by_hand_much_is_fed_or_moved() -> None:
    watch = TurnWatch()
    lines = ["G1 X1", *(100 * ["G1 E5"]), *(100 * ["G1 X1", "M105"]), "G1 E1"]
    assert all(watch.judge(line, 0).allowed for line in lines)


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
        (["M83", "M82", "G92 E5", "G1 X1 E5", "G1 X2 E4", "G1 E5"], 5),
        # Relative since the last print, for all we know.
        (["G92 E10", "G1 X1 E5"], 1),
        (["M82", "G92 E10", "G91", "G1 X1 E.5"], 3),
        (["M82", "G92 E10", "G91", "G1 Z5", "G90", "M82", "G1 X1 E9", "G1 E10"], 7),
        (["G10", "G11", "T1", "G1 E-3", "M83", "G1 E-1", "X5E1"], 6),
        (["G1 X{1} E{2}"], 0),
        (["G28", "M23 part.gco", "M24"], 1),
        (["G1 E" + 400 * "9"], 0),
    ],
)
def test_the_copy_is_used_at_the_first_line_that_feeds(lines: list[str], first: int | None) -> None:
    watch = ExtrusionWatch()
    fed = [number for number, line in enumerate(lines) if watch.feeds(line)]
    assert fed[:1] == ([] if first is None else [first])


@pytest.mark.parametrize(
    ("line", "before", "after"),
    [
        ("M28 a.gco", False, True),
        ("n5 m028 a.gco*33", False, True),
        ("G28\nM928 a.gco", False, True),
        ("M810 M28 a.gco", False, True),
        ("M810", False, True),
        ("M810 G28|M117 home", False, False),
        ("M117 M28", False, False),
        ("G1 X28 E29", True, True),
        ("M29", True, False),
        (" M29\n", True, False),
        ("M029", True, True),
        ("M29\nM28 a.gco", True, True),
        ("M117 M29", True, True),
    ],
)
def test_what_makes_a_printer_write_its_card(line: str, before: bool, after: bool) -> None:
    assert card_written(line, before) is after

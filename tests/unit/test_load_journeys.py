"""Judgement of a load run: no line is lost, a disturbed machine is no slow platform; the report is one file."""

import argparse
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.load.client import percentile, retry_after
from tests.load.journeys import __main__ as command
from tests.load.journeys import lines, page, plan
from tests.load.journeys.lines import Figure, Line, Verdict
from tests.load.journeys.perform import together
from tests.load.journeys.seen import CHAT, SCAN, Act, Model, Seen, Stage
from tests.load.machine import Usage

LINE = Line("p95", "100 users", "< 5 s")
STAGE = Stage("100 users", 100, 10, 60, Model(2, 1.5), limit=5)


def usage(
    *, driver: float = 10, scan: float = 20, emulator: float = 5, machine: float = 36, wall: float = 100
) -> Usage:
    return Usage({"scan-api": scan, "llm-emulator": emulator}, driver, machine, wall)


def scan(number: int, seconds: float | None = 4, **more: Any) -> Act:
    return replace(Act(SCAN, float(number), seconds, "" if seconds else "HTTP 500", f"job-{number}"), **more)


def seen(acts: Sequence[Act], used: Usage | None = None, lags: Sequence[float] = (0.001,), **more: Any) -> Seen:
    statuses = {act.job: "completed" for act in acts if act.job}
    whole = Seen(STAGE, acts, used or usage(), lags, {act.job: 3.5 for act in acts if act.job}, statuses, cores=2)
    return replace(whole, **more)


def scans(count: int, seconds: float = 4) -> list[Act]:
    return [scan(number, seconds) for number in range(count)]


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3, 1, 2], 50, 2), ([1, 2, 3, 4], 50, 2), (range(1, 101), 95, 95), ([7], 99, 7)],
)
def test_a_percentile_is_a_value_that_was_seen(values: Sequence[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


@pytest.mark.parametrize(
    ("told", "seconds"), [({"Retry-After": "3"}, 3.0), ({}, None), ({"Retry-After": "soon"}, None)]
)
def test_a_refusal_tells_how_long_to_wait(told: Mapping[str, str], seconds: float | None) -> None:
    assert retry_after(told) == seconds


def state_of(acts: Sequence[Act], used: Usage | None = None, lags: Sequence[float] = (0.001,), slow: float = 1) -> str:
    whole = seen(acts, used, lags)
    return lines.judged(LINE, lines.answered_in(whole, 5), whole, slow).state


def test_a_time_within_its_limit_is_kept_and_one_beyond_it_is_missed() -> None:
    assert state_of(scans(100)) == "kept"
    assert state_of(scans(100, 6)) == "missed"


def test_a_scan_that_failed_takes_for_ever() -> None:
    good = scans(94)
    assert state_of([*good, *(scan(100 + number, None) for number in range(6))]) == "missed"
    assert state_of([*good, *(scan(100 + number, None) for number in range(4))]) == "kept"


def test_few_scans_tell_nothing() -> None:
    assert state_of(scans(lines.LEAST - 1, 9)) == "not measured"
    assert state_of([]) == "not measured"


DISTURBED: dict[str, dict[str, Any]] = {
    "used by something else": {"used": usage(machine=80)},
    "overloaded: it took": {"used": usage(driver=95, machine=121)},
    "overloaded: its own loop": {"lags": [0.6] * 20},
    "machine was full": {"used": usage(driver=40, scan=145, emulator=10, machine=195)},
    "times slower": {"slow": 2.5},
}


@pytest.mark.parametrize("why", DISTURBED)
def test_a_limit_missed_on_a_disturbed_machine_is_not_measured_and_one_kept_is_kept(why: str) -> None:
    assert state_of(scans(100, 6), **DISTURBED[why]) == "not measured"
    assert state_of(scans(100), **DISTURBED[why]) == "kept"
    whole = seen(scans(100, 6), DISTURBED[why].get("used"), DISTURBED[why].get("lags", [0.0]))
    slow = float(DISTURBED[why].get("slow", 1))
    assert why in lines.judged(LINE, lines.answered_in(whole, 5), whole, slow).why


def test_a_machine_full_of_the_platform_alone_is_no_excuse() -> None:
    assert state_of(scans(100, 6), usage(driver=10, scan=180, emulator=3, machine=195)) == "missed"


def test_a_driver_that_is_seconds_late_measured_nothing() -> None:
    assert state_of(scans(100), lags=[1.5] * 20) == "not measured"


def test_no_load_excuses_a_job_that_was_lost_or_failed() -> None:
    whole = seen(scans(30), usage(machine=190), [2.0], statuses={f"job-{n}": "completed" for n in range(29)})
    verdict = lines.judged(LINE, lines.none_harmed(whole), whole, 9)
    assert (verdict.state, verdict.value) == ("missed", "1 jobs")
    assert "lost" in verdict.why


@pytest.mark.parametrize(
    "harm",
    [
        {"statuses": {}},
        {"statuses": {"job-0": "failed"}},
        {"statuses": {"job-0": "processing"}},
        {"acts": [scan(0, None)]},
    ],
)
def test_each_kind_of_harm_is_found(harm: dict[str, Any]) -> None:
    assert not lines.none_harmed(seen([scan(0)])).value
    assert lines.none_harmed(replace(seen([scan(0)]), **harm)).value == 1


def test_a_message_of_a_chat_is_a_job_as_well() -> None:
    turn = Act(CHAT, 0.0, 3.0, job="turn")
    assert lines.none_harmed(seen([turn], statuses={"turn": "failed"})).value == 1


def test_the_overhead_is_beyond_the_models_time_for_the_same_scan() -> None:
    acts = [scan(0, 5.0), scan(1, 9.25), scan(2, None, job=None)]
    found = lines.overhead(seen(acts, model_seconds={"job-0": 4.75, "job-1": 9.0}))
    assert found == [0.25, 0.25]


def test_nobody_may_be_refused_where_all_are_to_succeed() -> None:
    assert lines.all_succeeded(seen(scans(30))).kept
    assert not lines.all_succeeded(seen([*scans(30), scan(31, refusals=1)])).kept
    assert not lines.all_succeeded(seen([*scans(30), scan(31, None)])).kept


def test_a_refusal_says_when_to_come_again() -> None:
    assert lines.none_rude(seen([scan(0, refusals=2)])).kept
    assert not lines.none_rude(seen([scan(0, refusals=2, rude=1)])).kept


def test_a_hit_is_a_known_photo_for_which_the_model_was_not_asked() -> None:
    acts = [scan(number, 0.1, popular=number < 50) for number in range(70)]
    model = {f"job-{number}": 3.5 for number in range(40, 70)}
    whole = seen(acts, model_seconds=model)
    assert len(lines.hits(whole)) == 40
    rate = lines.hit_rate(whole)
    assert (rate.value, rate.kept) == (80, False)
    assert "57 % of all" in rate.note
    failed = [scan(number, None, popular=True) for number in range(50)]
    assert lines.hits(seen(failed, model_seconds={})) == [], "a scan that failed was no hit"


@pytest.mark.parametrize(("after", "kept"), [(20, True), (22.9, True), (23.1, False), (16.9, False)])
def test_cost_is_flat_within_15_percent_both_ways(after: float, kept: bool) -> None:
    one, other = (seen(scans(100), usage(scan=path, machine=path + 16)) for path in (20, after))
    assert lines.flat(one, other).kept is kept
    busy = seen(scans(100), usage(scan=20, machine=80))
    assert "something else" in lines.flat(one, busy).why_not


def test_the_process_that_grew_most_is_named() -> None:
    samples = [{"web": 50.0, "scan-worker": 100 + number * 0.2} for number in range(60)]
    grown = lines.growth(samples, 60)
    assert (grown.unit, grown.kept) == ("% (scan-worker)", False)
    assert lines.growth([{"web": 50.0, "scan-worker": 100.0}] * 60, 60).kept
    assert "too short" in lines.growth(samples, 10).why_not
    assert "too few" in lines.growth(samples[:5], 60).why_not


def test_rounds_of_a_stage_count_as_one() -> None:
    both = together([seen(scans(3)), seen([scan(9)])])
    assert (len(both.acts), both.usage.wall, both.usage.path) == (4, 200, 40)
    assert both.acts[3].began == 109


def asked(*given: str) -> tuple[argparse.Namespace, plan.Asked]:
    parsed = command.arguments([*given, "--seed", "1"])
    return parsed, command.asked_of(parsed)


def test_every_line_has_a_verdict_whatever_was_asked_for_and_came_of_it() -> None:
    _, options = asked("--users", "20,500", "--with", "repeated")
    found = plan.Found()
    line, figure = plan.users_lines(20)[0]
    found.figures.append((line, Figure(4.1, "s", kept=True, seconds=5), seen(scans(40))))
    given = command.verdicts(options, found, {"500 users": "its stage broke: x"}, 1.0)
    assert [one.name for one in given] == [one.name for one in plan.every_line((20, 500))]
    by_name = {one.name: one for one in given}
    assert by_name[line.name].state == "kept"
    assert {one.why for one in given if one.stage == "500 users"} == {"its stage broke: x"}
    assert {one.why for one in given if one.stage == "repeated"} == {"the stack did not get so far"}
    assert {(one.why, one.asked) for one in given if one.stage == "soak"} == {("not asked for", False)}
    assert {one.stage for one in given} >= {f"{count} users" for count in plan.USUAL_USERS}
    assert figure(seen(scans(40))).kept


def test_the_exit_code_tells_missed_from_not_measured() -> None:
    kept = Verdict("a", "b", "c", "kept", "1")
    unasked, open_, missed = (
        replace(kept, state="not measured", asked=False),
        replace(kept, state="not measured"),
        replace(kept, state="missed"),
    )
    assert [command.exit_code(one) for one in ([kept, unasked], [kept, open_], [kept, open_, missed])] == [0, 2, 1]


@pytest.mark.parametrize(
    "given", [["--users", "0"], ["--users", "a"], ["--with", "nothing"], ["--users", "", "--with", "none"]]
)
def test_options_that_mean_nothing_are_refused(given: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.arguments(given)
    assert "error:" in capsys.readouterr().err


def test_crowds_whose_cost_is_compared_scan_at_one_rate() -> None:
    for users in (plan.FEW, plan.MANY):
        stage = plan.cost_stage("x", users, 60)
        assert users / (stage.think + stage.model.vision + stage.model.answer) == pytest.approx(plan.RATE)


def report() -> str:
    acts = [scan(number, 3 + number / 50) for number in range(60)] + [Act(CHAT, 1.0, None, "<script>alert(1)</script>")]
    verdict = Verdict("100 users: p95", "100 users", "< 5 s", "missed", "6 s", "</script><b>")
    return page.render([verdict], [seen(acts)], {"date": "today", "seed": 7}, [{"web": 51.5}])


def test_the_report_is_one_file_that_asks_nobody_for_anything() -> None:
    text = report()
    assert "default-src 'none'" in text
    assert not re.findall(r"(?:src|href|action|poster)\s*=|url\(|@import|https?:", text)


def test_the_report_shows_lines_and_charts_and_takes_no_text_for_markup() -> None:
    text = report()
    assert '<td class="missed">missed</td>' in text
    assert text.count("<svg") == 5
    assert all(name in text for name in ("limit 5 s", "scan-api", "web"))
    assert "&lt;script&gt;alert" in text
    assert text.count("</script>") == 1
    assert "<b>" not in text

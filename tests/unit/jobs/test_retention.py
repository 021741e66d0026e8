"""Retention of backups."""

from datetime import UTC, datetime, timedelta

from eco2.jobs.backup import Backup, kept
from eco2.jobs.settings import BackupSettings

SETTINGS = BackupSettings.model_construct(backup_keep_daily=7, backup_keep_weekly=4, backup_keep_monthly=6)
FIRST = datetime(2026, 1, 1, 17, tzinfo=UTC)


def nightly(days: int) -> list[Backup]:
    times = [FIRST + timedelta(days=n) for n in range(days)]
    return [Backup(at.strftime("%Y-%m-%d"), at, 1, proven=True) for at in times]


def test_days_then_weeks_then_months() -> None:
    names = sorted(kept(nightly(365), SETTINGS), reverse=True)
    assert names[:7] == [f"2026-12-{day}" for day in range(31, 24, -1)]
    assert names[7:] == [
        "2026-12-20",
        "2026-12-13",
        "2026-11-30",
        "2026-10-31",
        "2026-09-30",
        "2026-08-31",
        "2026-07-31",
    ]


def test_a_few_all_stay_and_without_new_ones_the_old_ones_do() -> None:
    few = nightly(5)
    assert kept(few, SETTINGS) == {backup.name for backup in few}
    assert kept([], SETTINGS) == set()


def test_what_is_not_proven_takes_no_place() -> None:
    backups = nightly(10)
    unproven = [Backup("2026-01-11", FIRST + timedelta(days=10), 1, proven=False)]
    assert kept([*backups, *unproven], SETTINGS) == kept(backups, SETTINGS)


def test_two_of_one_day_are_one_day() -> None:
    twice = [Backup("morning", FIRST, 1, proven=True), Backup("evening", FIRST + timedelta(hours=3), 1, proven=True)]
    assert kept(twice, SETTINGS) == {"evening"}

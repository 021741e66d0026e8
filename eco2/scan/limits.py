"""Limits of one user's share of common resources, and the refusals past them."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Self

from eco2.core.errors import TooMany

KOREA = timezone(timedelta(hours=9), "KST")
OPEN_SECONDS = 5
"""Approximate time of a scan, after which an open one has ended."""


@dataclass(frozen=True)
class Limits:
    """Number of jobs of one user that may be open at once, and how many may come in a day of Korea."""

    open_jobs: int
    scans_per_day: int


UNLIMITED = Limits(2**31 - 1, 2**31 - 1)


@dataclass(frozen=True)
class Standing:
    """Jobs of a user that count against the limits."""

    open_jobs: int
    scans_today: int


@dataclass(frozen=True)
class Rules:
    """`backlog`: messages waiting past which new jobs are refused. `longest_wait`: seconds that a job may wait where
    the model's provider sets the rate. `without_budget`: whether jobs are taken when the day's budget is spent.
    `guest_share`: part of the backlog that open jobs of all guests together may be."""

    backlog: int
    longest_wait: float = 60.0
    without_budget: bool = True
    guest_share: float = 0.2


class TooManyOpenJobs(TooMany):
    """한 번에 분석할 수 있는 사진 수를 넘었어요. 앞의 사진이 끝나면 다시 보내 주세요."""

    code = "TOO_MANY_OPEN_JOBS"

    @classmethod
    def of(cls, limits: Limits) -> Self:
        most = limits.open_jobs
        return cls(
            f"사진은 한 번에 {most}장까지 분석해요. 앞의 사진이 끝나면 다시 보내 주세요.", retry_after=OPEN_SECONDS
        )


class TooManyScans(TooMany):
    """오늘 분석할 수 있는 사진 수를 넘었어요. 내일 다시 보내 주세요."""

    code = "TOO_MANY_SCANS"

    @classmethod
    def of(cls, limits: Limits) -> Self:
        most = limits.scans_per_day
        return cls(f"사진은 하루에 {most:,}장까지 분석해요. 내일 다시 보내 주세요.", retry_after=seconds_of_day_left())


class TooManyTickets(TooMany):
    """짧은 시간에 사진을 너무 많이 올렸어요. 잠시 뒤에 다시 올려 주세요."""

    code = "TOO_MANY_TICKETS"


def seconds_of_day_left() -> float:
    now = datetime.now(KOREA)
    midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return (midnight - now).total_seconds()


def refusal(standing: Standing, limits: Limits) -> TooMany:
    """The error of the limit that a user has reached."""
    if standing.open_jobs >= limits.open_jobs:
        return TooManyOpenJobs.of(limits)
    return TooManyScans.of(limits)


def full(standing: Standing, limits: Limits) -> bool:
    return standing.open_jobs >= limits.open_jobs or standing.scans_today >= limits.scans_per_day

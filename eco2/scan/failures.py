"""Reasons why a scan ends without an answer, besides those that a photo gives (`eco2.photos`)."""

from eco2.core.errors import AppError


class TooLate(AppError):
    """분석이 너무 오래 걸려 멈췄어요. 다시 시도해 주세요."""

    code = "SCAN_TIMED_OUT"
    english = "The scan took too long and was stopped. Try again."


class GivenUp(AppError):
    """분석하지 못했어요. 잠시 뒤 다시 시도해 주세요."""

    code = "SCAN_FAILED"
    english = "The scan did not work. Try again in a moment."


class Deleted(AppError):
    """지운 스캔이에요."""

    code = "SCAN_DELETED"
    english = "This scan was deleted."

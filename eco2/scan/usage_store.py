"""SQL for a user's usage, as parts of the statements that accept a job."""

from typing import LiteralString

from eco2.scan.job import IS_OPEN

TODAY: LiteralString = "(now() AT TIME ZONE 'Asia/Seoul')::date"
STANDING: LiteralString = f"""
    SELECT (SELECT count(*) FROM scan.jobs
            WHERE user_id = %(user)s AND created_at > now() - interval '1 day' AND {IS_OPEN}) AS open_jobs,
           coalesce((SELECT scans FROM scan.usage WHERE user_id = %(user)s AND day = {TODAY}), 0) AS scans_today"""

HAS_ROOM: LiteralString = "open_jobs < %(open_jobs)s AND scans_today < %(scans_per_day)s"

# A counter, since a user can delete the rows; it counts on its newest version, regardless of the snapshot.
COUNT: LiteralString = f"""
    INSERT INTO scan.usage AS usage (user_id, day, scans)
    SELECT %(user)s, {TODAY}, 1 FROM standing WHERE {HAS_ROOM}"""

COUNTED: LiteralString = """
    ON CONFLICT (user_id) DO UPDATE
    SET scans = CASE WHEN usage.day = excluded.day THEN usage.scans + 1 ELSE 1 END, day = excluded.day
    WHERE usage.day <> excluded.day OR usage.scans < %(scans_per_day)s
    RETURNING scans"""

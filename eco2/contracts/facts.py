"""Scan data for other domains: the views `FACTS`, one row for each scan, and `VERDICTS`, users' last verdicts on
results.

The views are the contract: statistics read them and no table of the domain. None of their columns has what a user
wrote.

FACTS: `id`, `user_id`, `status`, `created_at`, `finished_at`, `seen_by` (name of the model, NULL until it has looked),
`vision_source` (exact, near, shared: remembered; model: looked at; fallback, uncached), `answer_source`, `item_id`,
`stream_id`, `needs_choice` (waits for the user's choice), `chosen` (the user chose), `reward` (code of the character,
NULL without one).

VERDICTS: `verdict` (right, wrong: what a user said last of a result), `model`, `item_id` (what the result said),
`updated_at`.
"""

from typing import LiteralString

FACTS: LiteralString = "scan.facts"
VERDICTS: LiteralString = "scan.verdicts"

"""Choice of the user among the candidates of an uncertain scan."""

from dataclasses import replace

from eco2.core.aside import aside
from eco2.scan import candidates, stages, user_scans_store
from eco2.scan.errors import ChoiceNotNeeded, ChoiceUnknown
from eco2.scan.grants import grant, reward_of
from eco2.scan.job import Job
from eco2.scan.outputs import Answer, Rule
from eco2.scan.service import audience_of, find
from eco2.scan.services import Services


async def grant_choice(services: Services, job: Job) -> None:
    """Grant the reward of a choice, then mark it as announced."""
    await grant(services, job)
    services.announced_marks.add(services.db, job.id)


async def choose(services: Services, job: Job, minor_category: str | None) -> Job:
    """Complete an uncertain scan with the item that the user names; the same choice again changes nothing.

    None: it is none of the candidates. The caller grants the reward after the commit (`grant_choice`). Should it die
    between, the sweeper grants it.
    """
    if minor_category is None:
        return await _choose_none(services, job)
    item = services.knowledge.resolve(minor_category)
    if item is None:
        raise ChoiceUnknown
    if job.status != "completed" or job.rule is None:
        raise ChoiceNotNeeded
    if not job.rule.needs_choice:
        if job.rule.chosen == item.id:
            return job
        raise ChoiceNotNeeded
    audience = audience_of(services, job)
    said = job.user_input
    rule = await aside(said, stages.rule_of, services.knowledge, item, said, waste=job.rule.waste, audience=audience)
    shown = candidates.shows(services.knowledge, job.vision, item)
    rule = replace(rule, shown=shown, chosen=item.id, others=job.rule.others)
    answer = await aside(said, stages.answer, services.knowledge, rule, said, audience)
    reward = reward_of(services, job, rule, answer, audience)
    chosen = await user_scans_store.choose(services.db, job.id, rule, Answer.of(answer), reward)
    if chosen is None:  # another request was faster, such as a second click
        chosen = await find(services.db, job.id, job.user_id)
        if chosen.rule is None or chosen.rule.chosen != item.id:
            raise ChoiceNotNeeded
    return chosen


async def _choose_none(services: Services, job: Job) -> Job:
    """The scan ends as unsure; the user may still name the thing."""
    if job.status != "completed" or job.rule is None or not job.rule.needs_choice:
        raise ChoiceNotNeeded
    if stages.unsure(job.rule):
        return job
    rule = none_of_these(job.rule)
    answer = stages.answer(services.knowledge, rule, None, audience_of(services, job))
    chosen = await user_scans_store.choose(services.db, job.id, rule, Answer.of(answer), None)
    if chosen is None:
        raise ChoiceNotNeeded
    return chosen


def none_of_these(rule: Rule) -> Rule:
    """The rule when the user has refused every candidate."""
    return replace(rule, stream_id=None, material=None, candidates=(), none_of_these=True)

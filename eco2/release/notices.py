"""Sends notices of a deployment to Slack and Discord."""

import httpx2

from eco2.core.settings import SettingsGroup
from eco2.release.repository import ReleaseError

SECONDS = 10.0


class NoticeSettings(SettingsGroup):
    slack_webhook: str = ""
    discord_webhook: str = ""


class NotTold(ReleaseError):
    """Channels that could not be told, and why."""


def of_deployment(
    environment: str, result: str, release: str, rollback: str, undone: str, restored: str, url: str
) -> str:
    """`result`, `rollback` and `restored` as GitHub names outcomes: success, failure, cancelled, skipped.

    `undone` is the commit of the rollback, `restored` the outcome of waiting for it."""
    what = f"release {release[:12]}" if release else "the release"
    if result == "success":
        text = f"✅ {environment}: {what} runs and answers" if release else f"✅ {environment}: nothing changed"
    elif not release:
        text = f"❌ {environment}: {what} was not made ({result}); what ran before goes on"
    elif rollback == "success":
        text = _of_rollback(environment, what, undone, restored)
    elif result == "cancelled":
        text = f"⚠️ {environment}: {what} was made, then nobody waited for it"
    else:
        text = f"🚨 {environment}: {what} failed and was NOT rolled back"
    return f"{text} {url}".strip()


def _of_rollback(environment: str, what: str, undone: str, restored: str) -> str:
    if not undone:
        return f"🚨 {environment}: {what} failed and the rollback found nothing to change; the schema stays"
    if restored == "success":
        return f"⏪ {environment}: {what} failed and was rolled back by {undone[:12]}; the schema stays"
    if restored == "failure":
        return f"🚨 {environment}: {what} failed, and so did its rollback {undone[:12]}; the schema stays"
    return f"⚠️ {environment}: {what} failed, then nobody waited for its rollback {undone[:12]}; the schema stays"


def send(settings: NoticeSettings, text: str) -> list[str]:
    """Names of the channels that were told. NotTold when one of them could not be, after trying all."""
    bodies = {
        "Slack": (settings.slack_webhook, {"text": text}),
        "Discord": (settings.discord_webhook, {"content": text}),
    }
    told, failed = [], []
    for name, (address, body) in bodies.items():
        if not address:
            continue
        try:
            httpx2.post(address, json=body, timeout=SECONDS).raise_for_status()
        except httpx2.HTTPStatusError as error:
            failed.append(f"{name} answers {error.response.status_code}")
        except (httpx2.TransportError, httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            failed.append(f"{name} does not answer ({type(error).__name__})")
        else:
            told.append(name)
    if failed:
        raise NotTold("; ".join(failed))
    return told

"""`eco2 release`: which images an environment runs, and how that changes."""

import json
from pathlib import Path

import typer

from eco2.cli import console

CHECKOUT = Path(__file__).parents[2]
release = typer.Typer(
    help="Releases of images to environments. A release is a commit in the Git repository.", no_args_is_help=True
)
ENVIRONMENT = typer.Argument(help="dev, staging or prod.")
SERVICES = typer.Option(
    [], "--service", help="Only this one, as tags name it (scan, scan-worker), or gateway alone; may be repeated."
)
REVISION = typer.Option(
    "",
    help="Commit that images were built from, for the gateway a version of its chart. Default in prod: as staging.",
)
AS_JSON = typer.Option(False, "--json", help="Commit and changes, for programs.")
OUTPUTS = typer.Option(False, "--outputs", help="A line for $GITHUB_OUTPUT: `commit=…`, empty where nothing changed.")
REMOTE = typer.Option("", help="Address of the repository. Default: `origin` of this checkout.")


def _remote(given: str) -> str:
    from eco2.release import repository

    return given or repository.git(CHECKOUT, "remote", "get-url", "origin")


def _told(release_: object, as_json: bool, outputs: bool) -> None:
    from eco2.release.repository import Release

    assert isinstance(release_, Release)
    if outputs:
        typer.echo("\n".join(map(str, release_.changes)) or "Nothing changes.", err=True)
        typer.echo(f"commit={release_.commit}")
    elif as_json:
        changes = [{"service": row.service, "from": row.old, "to": row.new} for row in release_.changes]
        typer.echo(json.dumps({"commit": release_.commit, "changes": changes}))
    elif not release_.changes:
        typer.echo("Nothing changes.")
    else:
        typer.echo("\n".join((*map(str, release_.changes), f"commit {release_.commit}")))


@release.command()
def plan(
    environment: str = ENVIRONMENT,
    services: list[str] = SERVICES,
    revision: str = REVISION,
    remote: str = REMOTE,
) -> None:
    """Print the changes of a promotion without making them."""
    from eco2.release import repository

    with _Sentences(), repository.clone(_remote(remote), environment) as folder:
        found = repository.plan(folder, environment, services, revision)
    typer.echo("\n".join(map(str, found)) or "Nothing changes.")


@release.command()
def promote(
    environment: str = ENVIRONMENT,
    services: list[str] = SERVICES,
    revision: str = REVISION,
    remote: str = REMOTE,
    as_json: bool = AS_JSON,
    outputs: bool = OUTPUTS,
) -> None:
    """Release a revision's images to an environment; Argo CD follows within three minutes."""
    from eco2.release import repository

    with _Sentences():
        _told(repository.promote(_remote(remote), environment, services, revision), as_json, outputs)


@release.command()
def rollback(
    environment: str = ENVIRONMENT,
    release_: str = typer.Option("", "--release", metavar="COMMIT", help="This one. Default: the last not undone yet."),
    remote: str = REMOTE,
    as_json: bool = AS_JSON,
    outputs: bool = OUTPUTS,
) -> None:
    """Undo a release: its services return to their former images. The schema of the database stays."""
    from eco2.release import repository

    with _Sentences():
        _told(repository.rollback(_remote(remote), environment, release_), as_json, outputs)


@release.command()
def changed(
    since: str = typer.Argument("", help="Commit to compare HEAD with; an unknown one means everything."),
    branch: str = typer.Option("", help="Compare with the environment of this branch instead."),
    outputs: bool = typer.Option(False, "--outputs", help="Lines for $GITHUB_OUTPUT instead of one JSON object."),
) -> None:
    """List services and targets of the image that differ since a commit, or from an environment."""
    from eco2.release import repository, services

    if bool(since) == bool(branch):
        raise typer.BadParameter("give a commit or --branch")
    environment = repository.built_for(branch)
    with _Sentences():
        if branch:
            found = repository.outdated(CHECKOUT, environment)
        else:
            try:
                paths = repository.git(CHECKOUT, "diff", "--name-only", since, "HEAD").splitlines()
            except repository.ReleaseError:
                found = services.services()
            else:
                found = services.changed(paths)
    targets = sorted({service.target for service in found})
    by_target = {target: [service.name for service in found if service.target == target] for target in targets}
    if not outputs:
        typer.echo(json.dumps({"targets": targets, "services": by_target}))
        return
    words = {target: " ".join(names) for target, names in by_target.items()}
    typer.echo(f"environment={environment}\ntargets={json.dumps(targets)}\nservices={json.dumps(words)}")
    typer.echo(f"all={' '.join(words.values())}")


@release.command()
def wait(
    environment: str = ENVIRONMENT,
    release_: str = typer.Option(
        "", "--release", metavar="COMMIT", help="The release to wait for. Default: all services."
    ),
    seconds: float = typer.Option(2700, help="Time limit; a successful canary takes 20 minutes."),
    remote: str = REMOTE,
) -> None:
    """Wait until an environment runs a release and is healthy by Argo CD (ECO2_ARGOCD_URL, ECO2_ARGOCD_TOKEN)."""
    from eco2.core.settings import load
    from eco2.release import health, repository

    settings = load(health.ArgoSettings)
    with _Sentences():
        with repository.clone(_remote(remote), environment) as folder:
            tags = (
                repository.released(folder, environment, release_) if release_ else repository.tags(folder, environment)
            )
            older = repository.before(folder, release_ or "HEAD")
        health.wait(settings, environment, tags, seconds, lambda text: typer.echo(text, err=True), older)
    typer.echo(f"{environment} runs {', '.join(tags) or 'nothing new'}, and is healthy")


@release.command()
def notice(
    environment: str = ENVIRONMENT,
    result: str = typer.Option(..., help="Of the deployment: success, failure or cancelled."),
    release_: str = typer.Option("", "--release", metavar="COMMIT", help="The release, if one was made."),
    rollback_: str = typer.Option("", "--rollback", help="Outcome of its rollback, if one was tried."),
    undone: str = typer.Option("", metavar="COMMIT", help="The rollback, if it changed something."),
    restored: str = typer.Option("", help="Outcome of waiting for the rollback."),
    url: str = typer.Option("", help="Address of the details."),
) -> None:
    """Tell Slack (ECO2_SLACK_WEBHOOK) and Discord (ECO2_DISCORD_WEBHOOK) the outcome of a deployment."""
    from eco2.release import notices

    _tell(notices.of_deployment(environment, result, release_, rollback_, undone, restored, url))


@release.command()
def tell(text: str = typer.Argument(help="One line.")) -> None:
    """Send a line to Slack (ECO2_SLACK_WEBHOOK) and Discord (ECO2_DISCORD_WEBHOOK)."""
    _tell(text)


def _tell(text: str) -> None:
    from eco2.release import notices

    with _Sentences():
        told = notices.send(notices.NoticeSettings(), text)
    typer.echo(f"{text}\nTold: {', '.join(told) or 'nobody, for no webhook is set'}")


class _Sentences:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from eco2.release.repository import ReleaseError

        if isinstance(error, ReleaseError):
            raise typer.Exit(console.say(str(error))) from None

"""`eco2 infra`: what the scripts of provisioning ask of AWS. Credentials and region are those of the AWS tools."""

import json
import os
import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

import typer

infra = typer.Typer(help="Provisioning in AWS; the scripts call it.", no_args_is_help=True)

CHECKOUT = Path(__file__).parents[2]
REGION = "ap-northeast-2"
TUNNEL_PORT = 16443


class Environment(StrEnum):
    DEV = "dev"
    STAGING = "staging"
    PROD = "prod"


ENVIRONMENT = typer.Option(help="dev, staging or prod.")
DRY_RUN = typer.Option(False, "--dry-run", help="Print the actions without doing them.")


def _fail(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(1)


def _region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or REGION


def _client(service: str) -> Any:
    try:
        import boto3
    except ImportError:
        _fail("boto3 is missing: scripts/bootstrap installs it.")
    return boto3.client(service, region_name=_region())  # type: ignore[call-overload]


class _Told:
    """AWS's own words in place of a traceback."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        if isinstance(error, BotoCoreError | ClientError):
            _fail(f"AWS: {error}")


@infra.command()
def state() -> None:
    """Create the bucket of Terraform's state if it is missing, and print its name."""
    from eco2.infra import state as bucket

    with _Told():
        account = _client("sts").get_caller_identity()["Account"]
        typer.echo(bucket.ensure(_client("s3"), account, _region()))


@infra.command()
def leftovers(
    environment: Environment = ENVIRONMENT,
    delete: bool = typer.Option(False, "--delete", help="Delete them."),
) -> None:
    """List leftovers of Kubernetes in AWS for a cluster: load balancers, volumes, security groups with its tag."""
    from eco2.infra import leftovers as made

    cloud = made.Cloud(_client("ec2"), _client("elbv2"))
    cluster = f"eco2-{environment}"
    with _Told():
        if not delete:
            for row in made.find(cloud, cluster):
                typer.echo(row)
            return
        try:
            made.remove(cloud, cluster, lambda row: typer.echo(f"deleting {row}"))
        except made.StillThere as error:
            _fail(f"{error}. Remove the resource that uses it, then try again.")


@infra.command()
def secrets(
    environment: Environment = ENVIRONMENT,
    rotate: str = typer.Option(
        "", metavar="SECRET.PROPERTY", help="Generate this value again, such as broker.scan_api."
    ),
    require: str = typer.Option("", metavar="SECRET", help="Fail while this one has no value."),
    dry_run: bool = DRY_RUN,
) -> None:
    """Generate missing secrets, and list those to enter by hand."""
    from eco2.infra import secrets as values

    cloud = values.Cloud(_client("secretsmanager"), _client("ssm"), _client("iam"))
    with _Told():
        try:
            report = values.fill(cloud, environment, CHECKOUT, rotate, dry_run)
        except values.UnknownSecret as error:
            _fail(str(error))
    verb = "would make" if dry_run else "made"
    typer.echo(f"{verb}: {', '.join(report.made) or 'nothing'}; kept: {len(report.kept)}")
    if report.missing:
        typer.echo(f"still to be entered (workloads/secrets/README.md): {', '.join(report.missing)}")
    if require in report.missing:
        _fail(f"eco2/{environment}/{require} has to be entered before this can go on.")


@infra.command()
def tunnel(environment: Environment = ENVIRONMENT) -> None:
    """Reach the API server of a cluster at 127.0.0.1:16443 through Session Manager, until interrupted."""
    command = ["terraform", "-chdir=terraform", "output", "-raw", "control_plane_instance"]
    known = {**os.environ, "TF_WORKSPACE": str(environment)}
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=known)
    if done.returncode:
        _fail(f"Terraform does not know the control plane node: {done.stderr.strip()}")
    ports = json.dumps({"portNumber": ["6443"], "localPortNumber": [str(TUNNEL_PORT)]})
    document = ["--document-name", "AWS-StartPortForwardingSession", "--parameters", ports]
    session = ["aws", "ssm", "start-session", "--region", _region(), "--target", done.stdout.strip(), *document]
    try:
        os.execvp(session[0], session)  # noqa: S606  # nosec B606
    except FileNotFoundError:
        _fail("aws is missing: install the AWS CLI and its Session Manager plugin.")


@infra.command()
def cost() -> None:
    """Print the monthly cost of each layout and environment at list prices, in USD."""
    from eco2.infra import costs

    typer.echo(costs.table(CHECKOUT))
    typer.echo(f"\nPrices of {costs.DATE}: {costs.SOURCE}.")

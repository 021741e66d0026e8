"""Roles, parameters and secrets: what each may read and change."""

import json
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import yaml

from tests.infra.checks.registry import checker, first
from tests.infra.plans import CHECKOUT, Plan


def _role_of_no_account(plan: Plan) -> None:
    del plan.resources['aws_iam_role.pod["external-dns"]']


def _account_of_no_role(plan: Plan) -> None:
    role = plan.resources['aws_iam_role.pod["external-dns"]']
    plan.resources['aws_iam_role.pod["celery"]'] = {**role, "name": f"eco2-{plan.environment}-celery"}


def _role_for_any_account(plan: Plan) -> None:
    role = plan.resources['aws_iam_role.pod["external-secrets"]']
    role["assume_role_policy"] = role["assume_role_policy"].replace("external-secrets", "*")


@checker(_role_of_no_account, _account_of_no_role, _role_for_any_account)
def pods_have_the_roles_that_their_accounts_name(plan: Plan) -> Iterator[str]:
    accounts = yaml.safe_load_all((CHECKOUT / "workloads/rbac-storage/base/service-accounts.yaml").read_text())
    wanted = {
        item["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
        .split("role/")[1]
        .replace("ENVIRONMENT", plan.environment): "{namespace}:{name}".format(**item["metadata"])
        for item in accounts
    }
    # Its account comes with its chart.
    if plan.is_given("atlantis"):
        wanted[f"eco2-{plan.environment}-atlantis"] = "atlantis:atlantis"
    found = {
        role["name"]: role["assume_role_policy"]
        for address, role in plan.of("aws_iam_role")
        if address.startswith("aws_iam_role.pod")
    }
    for name in wanted.keys() ^ found.keys():
        yield f"role {name} is {'not made' if name in wanted else 'of no service account'}"
    for name in wanted.keys() & found.keys():
        asked = json.loads(found[name])["Statement"][0]["Condition"]["StringEquals"]
        subjects = [value for key, value in asked.items() if key.endswith(":sub")]
        if subjects != [f"system:serviceaccount:{wanted[name]}"]:
            yield f"role {name} trusts {subjects}, and is meant for {wanted[name]}"


def _everything_allowed(plan: Plan) -> None:
    statement = {"Effect": "Allow", "Action": ["*"], "Resource": ["*"]}
    plan.resources["aws_iam_role_policy.control_plane"]["policy"] = json.dumps({"Statement": [statement]})


def _secrets_of_all(plan: Plan) -> None:
    role = plan.resources['aws_iam_role_policy.pod["external-secrets"]']
    role["policy"] = role["policy"].replace(f"eco2/{plan.environment}/*", "*")


def _state_of_all(plan: Plan) -> None:
    statement = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::eco2-terraform-state-1/*"]}
    plan.resources['aws_iam_role_policy.pod["atlantis"]'] = {"policy": json.dumps({"Statement": [statement]})}


READING = ("Describe", "List", "Get")


@checker(_everything_allowed, _secrets_of_all, _state_of_all)
def roles_change_only_what_is_of_their_cluster(plan: Plan) -> Iterator[str]:
    """A statement about everything may look, though not at secrets; others name the environment or ask for its tag."""
    marks = (
        *(f"eco2-{plan.environment}", f"eco2/{plan.environment}/", f"/env:/{plan.environment}/"),
        plan.outputs["storage"]["ECO2_OPS_BUCKET"],
    )
    for kind in ("aws_iam_role_policy", "aws_iam_user_policy"):
        for address, policy in plan.of(kind):
            for statement in json.loads(policy["policy"])["Statement"]:
                known = json.dumps([statement.get("Resource"), statement.get("Condition")])
                own = any(mark in known for mark in marks) or "hostedzone/" in known
                looks = all(action.split(":")[-1].startswith(READING) for action in statement["Action"])
                tags = "CreateAction" in known
                if not (own or tags or (looks and "GetSecretValue" not in str(statement["Action"]))):
                    yield f"{address}: {statement['Action']} on {statement['Resource']}"


def _worker_reads_all(plan: Plan) -> None:
    del plan.resources['aws_iam_role_policy.parameters["worker"]']


def _control_plane_reads_all(plan: Plan) -> None:
    del plan.resources['aws_iam_role_policy.parameters["control_plane"]']


def _key_of_no_use(plan: Plan) -> None:
    own = plan.resources['aws_iam_role_policy.parameters["control_plane"]']
    own["policy"] = own["policy"].replace("etcd-encryption-key", "another")


@checker(_worker_reads_all, _control_plane_reads_all, _key_of_no_use)
def nodes_read_no_parameters_of_others(plan: Plan) -> Iterator[str]:
    """Session Manager's policy reads all parameters, so that it takes a Deny."""
    parameters = [f"/eco2/{name}/etcd-encryption-key" for name in ("dev", "staging", "prod")]
    for group in ("worker", "control_plane"):
        denied = _denied_parameters(plan, group)
        for name in parameters:
            own = group == "control_plane" and name.startswith(f"/eco2/{plan.environment}/")
            if own == denied(f"arn:aws:ssm:ap-northeast-2:111122223333:parameter{name}"):
                yield f"{group} {'cannot' if own else 'can'} read {name}"


def _denied_parameters(plan: Plan, group: str) -> Callable[[str], bool]:
    policy = plan.resources.get(f'aws_iam_role_policy.parameters["{group}"]', {"policy": '{"Statement": []}'})
    rows = [
        row
        for row in json.loads(policy["policy"])["Statement"]
        if row["Effect"] == "Deny" and row["Action"] == ["ssm:GetParameter*"]
    ]

    def denied(arn: str) -> bool:
        for row in rows:
            given = row.get("Resource") or row["NotResource"]
            if any(fnmatchcase(arn, pattern) for pattern in given) == ("Resource" in row):
                return True
        return False

    return denied


def _secret_missing(plan: Plan) -> None:
    del plan.resources['aws_secretsmanager_secret.this["broker"]']


def _secret_of_another_environment(plan: Plan) -> None:
    plan.resources['aws_secretsmanager_secret.this["slack"]']["name"] = "eco2/test/slack"


def _value_in_the_state(plan: Plan) -> None:
    first(plan, "aws_ssm_parameter")["value"] = "hunter2"


def _plain_parameter(plan: Plan) -> None:
    first(plan, "aws_ssm_parameter")["type"] = "String"


def _secret_version(plan: Plan) -> None:
    plan.resources["aws_secretsmanager_secret_version.this"] = {"secret_string": "hunter2"}


@checker(
    *(_secret_missing, _secret_of_another_environment, _value_in_the_state, _plain_parameter, _secret_version),
)
def secrets_are_made_without_values(plan: Plan) -> Iterator[str]:
    wanted = {f"eco2/{plan.environment}/{name}" for name in secret_names()}
    found = {values["name"] for _, values in plan.of("aws_secretsmanager_secret")}
    for name in wanted ^ found:
        yield f"secret {name} is {'not made' if name in wanted else 'read by nobody'}"
    for kind in ("aws_secretsmanager_secret_version", "aws_iam_access_key"):
        for address, _ in plan.of(kind):
            yield f"{address} stands in the state with its value"
    for address, parameter in plan.of("aws_ssm_parameter"):
        if parameter["type"] != "SecureString":
            yield f"{address} is not encrypted"
        if parameter.get("value"):
            yield f"{address} stands in the state with its value"


def secret_names() -> set[str]:
    """Secrets that the ExternalSecrets of the platform read."""
    found: set[str] = set()
    for path in (CHECKOUT / "workloads/secrets/external-secrets/base").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            _collect(document, found)
    return found


def _collect(value: Any, found: set[str]) -> None:
    if isinstance(value, dict):
        for name in ("extract", "remoteRef"):
            if isinstance(value.get(name), dict) and "key" in value[name]:
                found.add(value[name]["key"])
        for inner in value.values():
            _collect(inner, found)
    elif isinstance(value, list):
        for inner in value:
            _collect(inner, found)

"""Plausible mistakes, made one by one in the files of a copy: the checker that is named finds each.

`make test-deploy-mutations`; the slow lane runs it too. Checkers have broken fixtures of their own in memory; these go
the whole way, from the edited line to the finding.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy import platform as rendering
from tests.deploy.checks import load_all
from tests.deploy.platform import CHECKOUT, KUSTOMIZED, Platform

pytestmark = pytest.mark.slow
CHECKERS = load_all()


@dataclass(frozen=True)
class Mistake:
    """In `path`, the first `old` becomes `new`; `caught` names the checker."""

    name: str
    path: str
    old: str
    new: str
    caught: str


DOMAINS = "workloads/domains"
MISTAKES = (
    Mistake(
        "a Service of another port", f"{DOMAINS}/components/http-service/service.yaml", "port: 8000", "port: 8080",
        "services_have_the_ports_of_the_table",
    ),
    Mistake(
        "a probe that asks a path which is not there", f"{DOMAINS}/shapes/process/deployment.yaml", "path: /ready",
        "path: /readiness", "probes_ask_what_the_process_answers",
    ),
    Mistake(
        "a canary that nobody measures", f"{DOMAINS}/components/canary/rollout.yaml",
        "        - analysis: *analysis\n", "",
        "a_new_release_is_measured_before_it_gets_everything",
    ),
    Mistake(
        "a label that is missing", f"{DOMAINS}/scan/base/kustomization.yaml", "domain: scan", "area: scan",
        "what_runs_is_found_by_its_labels",
    ),
    Mistake(
        "a queue without dead letters", "workloads/rabbitmq/base/topology/queues.yaml",
        "    x-dead-letter-exchange: dlx\n", "", "vhost_eco2_is_the_26_resources_of_the_contract",
    ),
    Mistake(
        "a queue that keeps messages for a day instead of an hour", "workloads/rabbitmq/base/topology/queues.yaml",
        "3600000", "86400000", "vhost_eco2_is_the_26_resources_of_the_contract",
    ),
    Mistake(
        "a worker that scales by another queue", f"{DOMAINS}/scan/base/scan-worker/kustomization.yaml",
        "queueName: scan.rule", "queueName: scan.rules", "workers_scale_by_their_queues_and_services_by_their_cpu",
    ),
    Mistake(
        "a worker that is killed in its work", f"{DOMAINS}/shapes/worker/kustomization.yaml", "value: 90", "value: 30",
        "a_pod_is_given_the_time_that_its_work_takes",
    ),
    Mistake(
        "a process without the address of its cache", f"{DOMAINS}/scan/base/scan-worker/kustomization.yaml",
        "  - ../../../components/redis-cache\n", "", "every_process_starts_with_what_it_is_given",
    ),
    Mistake(
        "a Pod that runs as root", f"{DOMAINS}/shapes/process/deployment.yaml", "runAsNonRoot: true",
        "runAsNonRoot: false", "pods_are_restricted_and_spread",
    ),
    Mistake(
        "an image of another environment", f"{DOMAINS}/scan/prod/kustomization.yaml", "newTag: scan-prod-",
        "newTag: scan-dev-", "images_are_tagged_by_service_and_environment",
    ),
    Mistake(
        "a tag that moves", "platform/cr/base/redis/kustomization.yaml", "opstree/redis:v7.0.15",
        "opstree/redis:latest", "images_have_an_exact_tag",
    ),
    Mistake(
        "a host of dev in prod", f"{DOMAINS}/components/environments/prod/kustomization.yaml",
        "https://api.growbin.app", "https://api.dev.growbin.app", "no_environment_names_another",
    ),
    Mistake(
        "custom resources before their operator", "clusters/base/apps/35-data-crs.yaml", 'sync-wave: "35"',
        'sync-wave: "23"', "definitions_and_operators_come_first",
    ),
    Mistake(
        "a wave that is not the number of its file", "clusters/base/apps/70-ingress.yaml", 'sync-wave: "70"',
        'sync-wave: "7"', "the_number_of_a_file_is_its_wave",
    ),
    Mistake(
        "secrets after the broker that reads them", "clusters/base/apps/11-external-secrets.yaml", 'sync-wave: "11"',
        'sync-wave: "37"', "secrets_come_before_their_users",
    ),
    Mistake(
        "namespaces after their content", "clusters/base/apps/02-namespaces.yaml", 'sync-wave: "2"', 'sync-wave: "5"',
        "namespaces_come_before_their_content",
    ),
    Mistake(
        "an Application of another environment's folder", "clusters/prod/apps/35-data-crs.yaml", "platform/cr/prod",
        "platform/cr/staging", "every_folder_of_an_environment_is_deployed_once",
    ),
    Mistake(
        "an operator that may run anywhere", "clusters/base/apps/29-rabbitmq-operator.yaml", "role: control-plane}",
        "role: worker}", "operators_of_rabbitmq_are_as_the_seed_has_them",
    ),
    Mistake(
        "an Application to a namespace that its project does not allow", "clusters/base/apps/35-data-crs.yaml",
        "namespace: postgres", "namespace: default", "projects_allow_what_is_deployed",
    ),
    Mistake(
        "migrations that no automatic sync runs", "workloads/migrations/base/job.yaml",
        "argocd.argoproj.io/sync-options: Force=true,Replace=true", "argocd.argoproj.io/hook: Sync",
        "no_application_is_hooks_alone",
    ),
    Mistake(
        "a chart of any version", "clusters/prod/apps/07-keda.yaml", '"2.16.1"', '"2.x"',
        "versions_are_pinned_and_written_down",
    ),
    Mistake(
        "data that a sync may remove", "clusters/prod/apps/kustomization.yaml", "prune, value: false",
        "prune, value: true", "syncs_are_automatic_and_keep_data",
    ),
    Mistake(
        "a field that the kind does not have", "platform/cr/base/postgres/postgresql.yaml", "teamId:",
        "team:", "every_object_passes_its_schema",
    ),
    Mistake(
        "a route that waits forever, in one environment", "workloads/routing/auth/dev/kustomization.yaml",
        "components:\n", "patches:\n  - target: {kind: VirtualService}\n    patch: |-\n"
        "      - {op: replace, path: /spec/http/0/timeout, value: 0s}\ncomponents:\n",
        "environments_differ_where_the_table_allows",
    ),
    Mistake(
        "a node without the label that the broker asks for", "clusters/layouts.yaml",
        "labels: {role: infrastructure, domain: integration, infra-type: rabbitmq}",
        "labels: {role: infrastructure, domain: integration, infra: rabbitmq}", "every_pod_has_a_node",
    ),
    Mistake(
        "a container with all rights", "platform/cr/base/postgres/setup.yaml", "allowPrivilegeEscalation: false",
        "privileged: true", "trivy_finds_nothing_but_the_skips",
    ),
    Mistake(
        "a data store open to every Pod", "workloads/network-policies/base/redis/policies.yaml",
        """              - {key: tier, operator: In, values: [business-logic, integration]}
          podSelector: {matchLabels: {reaches-redis: "true"}}
""",
        "              - {key: tier, operator: Exists}\n", "ports_are_reached_by_those_who_need_them",
    ),
    Mistake(
        "a mesh that takes plain text", "workloads/routing/mesh/base/gateway.yaml", "mode: STRICT",
        "mode: PERMISSIVE", "the_mesh_is_strict",
    ),
    Mistake(
        "a resource fetched when it is rendered", "platform/crds/base/kustomization.yaml", "  - applications.yaml\n",
        "  - applications.yaml\n  - https://github.com/kedacore/keda/releases/download/v2.16.1/keda-2.16.1-crds.yaml\n",
        "nothing_is_fetched_to_render",
    ),
    Mistake(
        "a documented command that is gone", "docs/deployment.md", "scripts/domain-check scan",
        "scripts/check-domain scan", "commands_exist",
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("copy")
    for name in (*KUSTOMIZED, "docs", "scripts"):
        shutil.copytree(CHECKOUT / name, root / name)
    return root


@pytest.fixture
def mistaken(copy: Path, platform: Platform, request: pytest.FixtureRequest) -> Iterator[Platform]:
    """The platform with the mistake of the test, which is taken back afterwards."""
    mistake: Mistake = request.param
    file = copy / mistake.path
    before = file.read_text()
    assert mistake.old in before, f"{mistake.path} no longer has {mistake.old!r}"
    file.write_text(before.replace(mistake.old, mistake.new, 1))
    yield rendering.rebuild(platform, copy, mistake.path)
    file.write_text(before)


@pytest.mark.parametrize(
    ("mistaken", "caught"),
    [pytest.param(row, row.caught, id=row.name.replace(" ", "-")) for row in MISTAKES],
    indirect=["mistaken"],
)
def test_a_mistake_is_caught_by_name(mistaken: Platform, caught: str) -> None:
    assert list(CHECKERS[caught].find(mistaken))


def test_there_are_25_mistakes() -> None:
    assert len(MISTAKES) >= 25

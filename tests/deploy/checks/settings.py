"""Every setting that a process reads is given to it or has a default; every secret comes from External Secrets."""

import os
from collections.abc import Iterable, Iterator
from unittest import mock

from pydantic import ValidationError

from eco2.core.settings import SERVERS, DatabaseSettings, Settings, SettingsGroup
from eco2.location.settings import StoredImportSettings
from tests.deploy.checks import checker
from tests.deploy.fleet import (
    IMPORT,
    MIGRATIONS,
    Given,
    container,
    deployments,
    given,
    groups_of,
    image_environment,
    jobs,
    of_kind,
    rows,
    secrets,
    variables_of,
)
from tests.deploy.platform import ENVIRONMENTS, Object, Platform, title

SECRET_ENDS = ("_secret", "_secret_key", "_access_key", "_api_key", "_client_id", "_llm_providers", "_recipient")
LOCAL_ONLY = {"ECO2_OAUTH_EMULATOR_URL"}
DISPENSABLE = {"weather", "kakao-local", "push-key", "push-keys"}
"""Secrets of sources without which a process answers from what else it has."""
SHARED = {"ECO2_CORS_ORIGINS", "ECO2_ENVIRONMENT"}
OF_JOBS: dict[str, tuple[type[SettingsGroup], ...]] = {
    MIGRATIONS: (Settings, DatabaseSettings),
    IMPORT: (StoredImportSettings,),
}


def _processes(platform: Platform) -> Iterator[tuple[str, str, Object, Given]]:
    for environment in ENVIRONMENTS:
        for name, item in deployments(platform, environment).items():
            if name in rows():
                yield environment, name, item, given(platform, environment, item)


def _lost_component(platform: Platform) -> None:
    container(platform.find("Deployment", "event-router", "prod"))["envFrom"].remove(
        {"secretRef": {"name": "redis-streams"}}
    )


def _renamed_setting(platform: Platform) -> None:
    for item in of_kind(platform, "staging", "ConfigMap"):
        if item["metadata"]["namespace"] == "auth":
            item["data"]["ECO2_FRONT_END_URL"] = item["data"].pop("ECO2_FRONTEND_URL")


def _other_environment(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "ConfigMap"):
        if "ECO2_ENVIRONMENT" in item.get("data", {}):
            item["data"]["ECO2_ENVIRONMENT"] = "production"


def _password_in_clear(platform: Platform) -> None:
    data = platform.find("ClusterExternalSecret", "postgres", "prod")["spec"]["externalSecretSpec"]["target"][
        "template"
    ]["data"]
    data["ECO2_DATABASE_URL"] = "postgresql://eco2:eco2@postgres.postgres.svc.cluster.local:5432/eco2"


def _calls_itself_dev(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "ConfigMap"):
        if "ECO2_ENVIRONMENT" in item.get("data", {}):
            item["data"]["ECO2_ENVIRONMENT"] = "dev"


def _migrations_without_database(platform: Platform) -> None:
    container(platform.find("Job", "migrations", "staging"))["envFrom"].remove({"secretRef": {"name": "postgres"}})


def _import_without_a_bucket(platform: Platform) -> None:
    template = platform.find("CronJob", IMPORT, "dev")["spec"]["jobTemplate"]
    container(template)["envFrom"].remove({"secretRef": {"name": "object-store"}})


@checker(
    _lost_component,
    _renamed_setting,
    _other_environment,
    _password_in_clear,
    _calls_itself_dev,
    _migrations_without_database,
    _import_without_a_bucket,
)
def every_process_starts_with_what_it_is_given(platform: Platform) -> Iterator[str]:
    """Its own settings are made of the rendered values, with generated ones for the secrets."""
    for environment, name, _, found in _processes(platform):
        yield from (f"{environment}: {fault}" for fault in _faults(name, groups_of(rows()[name]), environment, found))
    for environment in ENVIRONMENTS:
        for name, item in jobs(platform, environment).items():
            faults = _faults(name, OF_JOBS[name], environment, given(platform, environment, item))
            yield from (f"{environment}: {fault}" for fault in faults)


def _faults(name: str, groups: Iterable[type[SettingsGroup]], environment: str, found: Given) -> Iterator[str]:
    yield from (f"{name} reads the {what}, which nothing makes" for what in found.missing)
    if found.plain.get("ECO2_ENVIRONMENT") != environment:
        yield f"{name} runs as {found.plain.get('ECO2_ENVIRONMENT')}"
    with mock.patch.dict(os.environ, {**image_environment(), **found.everything}, clear=True):
        for group in groups:
            try:
                group()
            except ValidationError as error:
                for fault in error.errors():
                    yield f"{name} does not start: {'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _unread_setting(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "ConfigMap"):
        if "ECO2_ENVIRONMENT" in item.get("data", {}):
            item["data"]["ECO2_SSE_KEEP_ALIVE"] = "15"


@checker(_unread_setting)
def nothing_is_given_that_no_process_reads(platform: Platform) -> Iterator[str]:
    read = {name for row in rows().values() for name in variables_of(row)}
    for environment, name, _, found in _processes(platform):
        for variable in found.everything:
            if variable.startswith("ECO2_") and variable not in read:
                yield f"{environment}: {name} is given {variable}, which no process reads"


def _secret_for_all(platform: Platform) -> None:
    container(platform.find("Deployment", "sse-gateway", "prod"))["envFrom"].append(
        {"secretRef": {"name": "object-store"}}
    )


def _secret_for_an_import(platform: Platform) -> None:
    template = platform.find("CronJob", IMPORT, "prod")["spec"]["jobTemplate"]
    container(template)["envFrom"].append({"secretRef": {"name": "redis-streams"}})


def _runs(platform: Platform) -> Iterator[tuple[str, str, Object, Given, frozenset[str]]]:
    """Processes and Jobs, with the variables that each reads."""
    for environment, name, item, found in _processes(platform):
        yield environment, name, item, found, variables_of(rows()[name])
    for environment in ENVIRONMENTS:
        for name, item in jobs(platform, environment).items():
            read = frozenset(f"ECO2_{field.upper()}" for group in OF_JOBS[name] for field in group.model_fields)
            yield environment, name, item, given(platform, environment, item), read


@checker(_secret_for_all, _secret_for_an_import)
def a_process_gets_no_secret_that_it_does_not_read(platform: Platform) -> Iterator[str]:
    for environment, name, item, found, read in _runs(platform):
        for source in container(item)["envFrom"]:
            secret = source.get("secretRef", {}).get("name")
            made = secrets(platform, environment).get((item["metadata"]["namespace"], secret)) if secret else None
            if made and not read & made.keys():
                yield f"{environment}: {name} is given the Secret {secret} and reads nothing of it"
        yield from (
            f"{environment}: {name} is given {variable} and does not read it"
            for variable in found.secret
            if variable.endswith("BROKER_URL") and variable not in read
        )


def _key_that_must_be_there(platform: Platform) -> None:
    for source in container(platform.find("Deployment", "chat-worker", "prod"))["envFrom"]:
        source.get("secretRef", {}).pop("optional", None)


@checker(_key_that_must_be_there)
def a_process_starts_without_the_keys_that_it_can_do_without(platform: Platform) -> Iterator[str]:
    for environment, name, item, _ in _processes(platform):
        for source in container(item)["envFrom"]:
            reference = source.get("secretRef", {})
            if reference.get("name") in DISPENSABLE and not reference.get("optional"):
                yield f"{environment}: {name} does not start without the Secret {reference['name']}"


def _key_in_a_map(platform: Platform) -> None:
    for item in of_kind(platform, "prod", "ConfigMap"):
        if "ECO2_ENVIRONMENT" in item.get("data", {}):
            item["data"]["ECO2_LLM_API_KEY"] = "sk-0123456789"


def _no_key_for_a_reader(platform: Platform) -> None:
    container(platform.find("Deployment", "recycling-api", "prod"))["envFrom"].remove(
        {"secretRef": {"name": "paid-model"}}
    )


def _secret_object(platform: Platform) -> None:
    metadata = {"name": "platform", "namespace": "scan"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"a": "b"}}
    platform.builds["workloads/domains/scan/prod"].append(secret)


@checker(_key_in_a_map, _no_key_for_a_reader, _secret_object)
def every_secret_setting_comes_from_external_secrets(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        for item in of_kind(platform, environment, "Secret"):
            yield f"{environment}: {title(item)} is written in the repository"
    for environment, name, _, found in _processes(platform):
        for variable in sorted(variables_of(rows()[name]) - LOCAL_ONLY):
            if variable in found.plain and _is_secret(variable, found.plain[variable]):
                yield f"{environment}: {name} is given {variable} in clear"
            if _is_secret(variable, "") and variable not in found.secret:
                yield f"{environment}: {name} reads {variable}, which no Secret gives"


def _is_secret(variable: str, value: str) -> bool:
    url = variable.endswith(("DATABASE_URL", "BROKER_URL", "STREAMS_URL", "CACHE_URL"))
    return url or variable.lower().endswith(SECRET_ENDS) or value.partition("://")[0] in SERVERS


def _unused_secret(platform: Platform) -> None:
    platform.find("ClusterExternalSecret", "backups", "prod")["spec"]["externalSecretName"] = "backup"
    platform.find("ClusterExternalSecret", "backups", "prod")["metadata"]["name"] = "backup"


def _prefix_of_dev(platform: Platform) -> None:
    platform.find("ClusterSecretStore", "platform", "prod")["spec"]["provider"]["aws"]["prefix"] = "eco2/dev/"


@checker(_unused_secret, _prefix_of_dev)
def every_external_secret_is_used_and_belongs_to_its_environment(platform: Platform) -> Iterator[str]:
    for environment in ENVIRONMENTS:
        store = platform.find("ClusterSecretStore", "platform", environment)["spec"]["provider"]["aws"]
        if store["prefix"] != f"eco2/{environment}/":
            yield f"{environment}: secrets are read below {store['prefix']}"
        named = set(_names(platform, environment))
        for item in of_kind(platform, environment, "ExternalSecret", "ClusterExternalSecret"):
            name, spec = item["metadata"]["name"], item["spec"]
            if spec.get("externalSecretName", name) != name:
                yield f"{environment}: {title(item)} makes a Secret of another name"
            if name not in named and not name.endswith(UPSTREAM):
                yield f"{environment}: {title(item)} makes a Secret that nothing uses"


UPSTREAM = (".credentials.postgresql.acid.zalan.do", "argocd-notifications-secret", "grafana-admin")
"""Read under their names by software that upstream charts and operators start."""


def _names(platform: Platform, environment: str) -> Iterator[str]:
    for _, item in platform.in_environment(environment):
        if item["kind"] in ("ExternalSecret", "ClusterExternalSecret"):
            continue
        yield from _named(item)


def _named(value: object) -> Iterator[str]:
    """Every text of an object; that of a reference is among them."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _named(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _named(inner)
    elif isinstance(value, str):
        yield value

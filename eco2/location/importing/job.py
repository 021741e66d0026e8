"""The Kubernetes Job that imports one file, made of the CronJob that stands suspended in the cluster as its template.

So a Job has the image, the settings and the limits that are deployed, and nobody's checkout decides about them.
"""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime
from hashlib import sha256
from typing import Any

import yaml

from eco2.core.errors import BadRequest

NAME = "places-import"
MAP_FOLDER, MAP_FILE = "/map", "map.yaml"

Object = dict[str, Any]


class TemplateRefused(BadRequest):
    """The template is not the CronJob of imports."""

    code = "IMPORT_TEMPLATE_REFUSED"


def objects(template: str, arguments: Sequence[str], columns: str | None, at: datetime) -> list[Object]:
    """The Job, behind a ConfigMap of the `--map` file where there is one. TemplateRefused."""
    cron = _template(template)
    space, job = cron["metadata"]["namespace"], deepcopy(cron["spec"]["jobTemplate"]["spec"])
    labels, pod = job["template"]["metadata"]["labels"], job["template"]["spec"]
    (container,) = pod["containers"]
    container["args"] = [_plain(argument) for argument in arguments]
    head = {"name": f"{NAME}-{at:%Y%m%d-%H%M%S}", "namespace": space, "labels": labels}
    made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": head, "spec": job}
    if columns is None:
        return [made]
    # Its name is its content: the same file again is the same object, and no Job sees another than it was made for.
    name = f"{NAME}-map-{sha256(columns.encode()).hexdigest()[:10]}"
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "immutable": True,
        "data": {MAP_FILE: columns},
    }
    container["args"] += ["--map", f"{MAP_FOLDER}/{MAP_FILE}"]
    container["volumeMounts"] = [
        *container.get("volumeMounts", ()),
        {"name": "map", "mountPath": MAP_FOLDER, "readOnly": True},
    ]
    pod["volumes"] = [*pod.get("volumes", ()), {"name": "map", "configMap": {"name": name}}]
    return [config, made]


def text(made: Sequence[Object]) -> str:
    """For `kubectl apply -f -`."""
    return yaml.safe_dump_all(made, sort_keys=False, allow_unicode=True)


def _template(text: str) -> Object:
    try:
        found = yaml.load(text, Loader=yaml.CSafeLoader)
        known = (found["kind"], found["metadata"]["name"]) == ("CronJob", NAME)
    except (yaml.YAMLError, KeyError, TypeError):
        known = False
    if not known:
        raise TemplateRefused(f"Give the CronJob: kubectl -n location get cronjob {NAME} -o yaml | eco2 places job …")
    return dict(found)


def _plain(argument: str) -> str:
    """Kubernetes would put a variable of the container in place of `$(NAME)`."""
    return argument.replace("$", "$$")

"""Runs a workflow by act on this machine: actions are stand-ins, and so is `make`, which records its calls."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).parents[2]
TOOLS = CHECKOUT / ".venv-workflows" / "bin"
FOLDER = CHECKOUT / ".github" / "workflows"
WORKFLOWS: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
USES = re.compile(r"^\s*-? *uses: (?P<action>[\w./-]+)@(?P<commit>\S+)", re.MULTILINE)
REPOSITORY = "https://github.com/mng990/eco2.git"
NAMES = (
    *("TARGETS", "TARGET", "ENVIRONMENT", "SERVICES", "REVISION", "RELEASE", "ROLLBACK", "UNDONE", "RESTORED"),
    *("RESULT", "URL", "BRANCH"),
)
"""Variables by which targets get their arguments; the stand-in of make tells them."""


@dataclass
class Run:
    """`calls`: targets with the arguments that were given, in order."""

    succeeded: bool
    calls: list[str]
    log: str = field(repr=False)

    def of(self, target: str) -> list[str]:
        return [call for call in self.calls if call.partition(" ")[0] == target]


class Runner:
    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        self.repository, self.programs = folder / "repository", folder / "bin"
        shutil.copytree(CHECKOUT / ".github", self.repository / ".github")
        self._write_make()
        self._write_actions()
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t.invalid"]
        for command in (
            ["git", "init", "--quiet", "--initial-branch", "develop"],
            ["git", "remote", "add", "origin", REPOSITORY],
            [*git, "add", "--all"],
            [*git, "commit", "--quiet", "--message", "The workflows"],
        ):
            subprocess.run(command, cwd=self.repository, check=True)

    def answer(self, target: str, text: str = "", *, fails: bool = False) -> None:
        """Whenever a workflow makes `target`, it prints this and, if it fails, ends with 2."""
        (self.folder / "answers" / target).write_text(text)
        if fails:
            (self.folder / "answers" / f"{target}.fails").touch()

    def run(self, event: str, workflow: str, payload: Mapping[str, Any], job: str = "", **given: str) -> Run:
        """`given`: variables and secrets alike, for the workflow takes each under its own name."""
        self.calls.write_text("")
        file = self.folder / "event.json"
        file.write_text(json.dumps(payload))
        command = [
            str(TOOLS / "act"),
            event,
            "--workflows",
            f".github/workflows/{workflow}.yml",
            "--eventpath",
            str(file),
        ]
        command += ["--platform", "ubuntu-24.04=-self-hosted", "--no-cache-server", "--concurrent-jobs", "2"]
        command += ["--job", job] if job else []
        for name, value in given.items():
            command += ["--secret" if "TOKEN" in name or "WEBHOOK" in name else "--var", f"{name}={value}"]
        for action, stub in self._stubs.items():
            command += ["--local-repository", f"{action}={stub}"]
        environment = {"HOME": str(self.folder), "PATH": f"{self.programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, cwd=self.repository, env=environment, capture_output=True, text=True, timeout=110
        )
        calls = [line for line in self.calls.read_text().splitlines() if line]
        return Run(done.returncode == 0, calls, done.stdout + done.stderr)

    def _write_make(self) -> None:
        (self.folder / "answers").mkdir()
        self.programs.mkdir()
        self.calls.touch()
        told = "".join(f"${{{name}:+ {name}=${name}}}" for name in NAMES)
        script = f"""#!/bin/sh
for target in "$@"; do :; done
printf '%s\\n' "$target{told}" >>{self.calls}
[ ! -f {self.folder}/answers/"$target" ] || cat {self.folder}/answers/"$target"
[ ! -f {self.folder}/answers/"$target".fails ] || exit 2
"""
        (self.programs / "make").write_text(script)
        (self.programs / "make").chmod(0o755)

    def _write_actions(self) -> None:
        self._stubs: dict[str, Path] = {}
        for path in FOLDER.glob("*.yml"):
            for found in USES.finditer(path.read_text()):
                name = found["action"].partition("/")[2]
                stub = self.folder / "actions" / name
                stub.mkdir(parents=True, exist_ok=True)
                # It records nothing but that it ran: what an action does is its own affair.
                steps = f"[{{run: 'echo action {name} >>{self.calls}', shell: sh}}]"
                (stub / "action.yml").write_text(f"name: {name}\nruns: {{using: composite, steps: {steps}}}\n")
                self._stubs[f"{found['action']}@{found['commit']}"] = stub


def available() -> str:
    """Empty, or why the tools of tools/workflows/setup are not there."""
    return (
        "" if (TOOLS / "act").exists() else "run `make test-workflows`: tools/workflows/setup installs act and zizmor"
    )

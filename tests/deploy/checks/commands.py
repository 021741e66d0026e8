"""Commands that documents and scripts tell people to run exist, and what they select by is somewhere a label."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import click
import typer

from eco2.cli.main import app
from tests.deploy.applications import deployed
from tests.deploy.checks import checker
from tests.deploy.platform import ENVIRONMENTS, Platform

TOOLS = {
    # Of other projects, that a reader has or is told to install.
    *("ansible-playbook", "basename", "env", "flock", "getent", "gh", "node", "realpath"),
    *("apt-get", "aws", "awk", "bash", "cat", "chmod", "chown", "cosign", "cp", "curl", "cut", "date", "dirname"),
    *("docker", "dpkg", "dpkg-query", "find", "git", "grep", "head", "helm", "id", "install", "jq", "kubectl", "ls"),
    *("mkdir", "mktemp", "mv", "npm", "od", "openssl", "patronictl", "pip", "podman", "psql", "pwd", "python"),
    *("python3", "rabbitmqctl", "redis-cli", "rm", "sed", "sh", "sha256sum", "sleep", "sort", "strip", "sudo"),
    *("systemctl", "tail", "terraform", "tr", "trivy", "uname", "update-rc.d", "wc", "xargs"),
}  # fmt: skip
BUILTINS = {
    *("!", "((", ".", ":", "[", "[[", "break", "case", "cd", "command", "continue", "declare", "do", "done"),
    *("echo", "elif", "else", "esac", "eval", "exec", "exit", "export", "false", "fi", "for", "function"),
    *("getopts", "if", "in", "local", "mapfile", "printf", "read", "readonly", "return", "select", "set"),
    *("shift", "source", "test", "then", "trap", "true", "type", "umask", "unset", "until", "wait", "while"),
    *("{", "}"),
}  # fmt: skip
PREFIXES = {"!", "{", "command", "do", "elif", "else", "exec", "if", "then", "until", "while"}
COMMAND = typer.main.get_command(app)
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`((?:make |eco2 |scripts/)[^`\n]*)`")
FUNCTION = re.compile(r"^\s*(\w+) ?\(\)", re.M)
LIBRARY = "scripts/lib/steps.sh"
SELECTOR = re.compile(r"(?:-l|--selector)[= ]['\"]?([\w./-]+=[\w.-]+(?:,[\w./-]+=[\w.-]+)*)")


def _unknown_target(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "Run `make no-such-target`."


def _unknown_command(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "```sh\neco2 status && eco2 dlq purge scan.vision\n```\n"


def _unknown_option(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "```sh\neco2 up --detached\n```\n"


def _unknown_script(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "```sh\nscripts/cluster-state\n```\n"


def _unknown_tool(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "```sh\nkubectl get pods -A | count-lines\n```\n"


def _unknown_word_of_a_script(platform: Platform) -> None:
    platform.texts["scripts/cluster-status"] += "\nsummarise nodes\n"


def _unknown_file(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "```sh\nkubectl apply -n argocd -f clusters/test/root-app.yaml\n```\n"


@checker(
    *(_unknown_target, _unknown_command, _unknown_option, _unknown_script, _unknown_tool),
    *(_unknown_word_of_a_script, _unknown_file),
)
def commands_exist(platform: Platform) -> Iterator[str]:
    targets = set(re.findall(r"^([a-z-]+):", platform.texts["Makefile"], re.M))
    for path, text in platform.texts.items():
        if path.endswith(".md"):
            lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
            functions = set(re.findall(r"^(\w+) ?\(\)", text, re.M))
            for command in [part for line in lines for part in _parts(line)] + INLINE.findall(text):
                if command.split()[0] not in functions:
                    yield from (f"{path}: {fault}" for fault in _faults(platform, command, targets))
        elif path.startswith("scripts/") and text.startswith(("#!/bin/sh", "#!/usr/bin/env bash", "#!/bin/bash")):
            yield from (f"{path}: {fault}" for fault in _script_faults(platform, text, targets))


def _parts(line: str) -> Iterator[str]:
    """Commands of a line, without quoted text, comments and redirections."""
    # Letters between quotes go; what is left of `"$(command)"` is looked at.
    plain = re.sub(r"'[^']*'|\"[^\"`(]*\"", "QUOTED", line.removeprefix("$ "))
    plain = re.sub(r"(^|\s)#.*", "", plain)
    plain = re.sub(r"\d?>>?&?\s*\S+|<\s*\S+", "", plain)
    for part in re.split(r"&&|\|\||[;|]|\$\(", plain):
        words = part.replace(")", " ").split()
        while words and re.match(r"\w+=", words[0]):
            words.pop(0)
        if words:
            yield " ".join(words)


def _faults(platform: Platform, command: str, targets: set[str]) -> Iterator[str]:
    words = command.split()
    first = words[0].removeprefix("./")
    if first == "make":
        for word in words[1:]:
            if re.fullmatch(r"[a-z-]+", word) and word not in targets:
                yield f"make {word}: there is no such target"
    elif first.removeprefix(".venv/bin/") == "eco2":
        yield from _eco2_faults(words[1:])
    elif first.startswith("scripts/"):
        if first.rstrip("/") not in platform.texts and not any(path.startswith(first) for path in platform.texts):
            yield f"{first} does not exist"
    elif first.startswith((".venv/bin/", "$", "QUOTED", "<", "…", '"$')):
        pass
    elif first not in TOOLS | BUILTINS and _is_word(first):
        yield f"{first}: neither a command of ours nor a known tool"
    for word in words[1:]:
        if re.match(r"(clusters|workloads|platform)/[\w./-]+$", word) and not _exists(platform, word):
            yield f"{word} does not exist"


def _exists(platform: Platform, path: str) -> bool:
    return path in platform.texts or any(known.startswith(path.rstrip("/") + "/") for known in platform.texts)


def _eco2_faults(words: list[str]) -> Iterator[str]:
    command: Any = COMMAND
    said = ["eco2"]
    for word in words:
        if word.startswith("--"):
            option = word.split("=")[0]
            known = {name for row in command.params for name in (*row.opts, *row.secondary_opts)}
            if option not in known | {"--help"}:
                yield f"{' '.join(said)} has no option {option}"
        elif isinstance(command, click.Group) or hasattr(command, "commands"):
            if not re.fullmatch(r"[a-z][a-z-]+", word):
                return
            inner = command.commands.get(word)
            if inner is None:
                yield f"{' '.join([*said, word])}: there is no such command"
                return
            command, said = inner, [*said, word]


def _script_faults(platform: Platform, text: str, targets: set[str]) -> Iterator[str]:
    plain = re.sub(r"^\s*#.*", "", text, flags=re.M)
    plain = re.sub(r"<<-?\s*'?(\w+)'?.*?^\s*\1$", "", plain, flags=re.M | re.S)
    plain = re.sub(r"\"[^\"`(]*\"|'[^']*'", "QUOTED", plain)
    plain = re.sub(r"\\\n", " ", plain)
    functions = set(FUNCTION.findall(plain))
    # Scripts of provisioning share a library, which in turn calls what they define.
    if LIBRARY in text or "begin()" in text:
        functions.update(FUNCTION.findall(platform.texts[LIBRARY]), {"option"})
    for line in plain.splitlines():
        if re.match(r"\s*(#|[\w*|. /-]+\)\s|\w+\(\))", line) or re.search(r"^\s*(\"|QUOTED|-)", line):
            continue
        for command in _parts(line.strip()):
            words = command.split()
            while words and words[0] in PREFIXES:
                words.pop(0)
            if words and words[0] not in functions and _is_word(words[0]):
                yield from _faults(platform, " ".join(words), targets)


def _is_word(text: str) -> bool:
    return re.fullmatch(r"[a-z][\w./-]*", text) is not None


def _selects_nothing(platform: Platform) -> None:
    platform.texts["docs/x.md"] = "```sh\nkubectl get pods -l tier=workers -A\n```\n"


@checker(_selects_nothing)
def selectors_of_commands_select_something(platform: Platform) -> Iterator[str]:
    """`-l key=value` in documents and scripts: an object of an environment, its Pods or a node has the label."""
    known = set(_labels(platform))
    for path, text in platform.texts.items():
        if not (path.endswith(".md") or path.startswith("scripts/")):
            continue
        for selector in SELECTOR.findall(text):
            for pair in selector.split(","):
                key, value = pair.split("=")
                if (key, value) not in known:
                    yield f"{PurePosixPath(path)}: nothing has the label {key}={value}"


def _labels(platform: Platform) -> Iterator[tuple[str, str]]:
    for pool in platform.document("clusters/layouts.yaml")["pools"].values():
        yield from ((key, str(value)) for key, value in pool["labels"].items())
    for environment in ENVIRONMENTS:
        for _, item in deployed(platform, environment):
            yield from item["metadata"].get("labels", {}).items()
            template = item.get("spec", {}).get("template", {})
            if isinstance(template, dict):
                yield from template.get("metadata", {}).get("labels", {}).items()
        for item in platform.builds.get(f"clusters/{environment}", []):
            yield from item["metadata"].get("labels", {}).items()

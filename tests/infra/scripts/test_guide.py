"""docs/guides/operator.md: every command has the options that the scripts tell of, and names what is there.

`make test-deploy` checks the commands of `eco2`, the targets of make and the tools of every document.
"""

import re
import shlex
import subprocess
from itertools import pairwise

import pytest
import yaml

from eco2.infra import costs
from tests.infra import plans

GUIDE = plans.CHECKOUT / "docs/guides/operator.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`([^`\n]+)`")


def commands(text: str) -> list[list[str]]:
    lines = [line for block in BLOCK.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    # Inline code counts where it begins as a command; the cells of a table hold several, one a pair of marks.
    lines += [part for part in INLINE.findall(BLOCK.sub("", text)) if " " in part]
    # `NAME=value command` is the command.
    return [shlex.split(re.sub(r"^(\w+=\S+ )+", "", line), comments=True) for line in lines if line]


def faults(text: str) -> list[str]:
    found = []
    for words in commands(text):
        options = [word.split("=")[0] for word in words if word.startswith("--")]
        if words[0].startswith("scripts/"):
            found += [f"{words[0]} knows no {option}" for option in options if option not in help_of(words[0])]
        elif words[0] == "ansible-playbook":
            found += playbook_faults(words)
        elif words[0] == "terraform":
            found += terraform_faults(words)
    return found


def help_of(script: str) -> str:
    path = plans.CHECKOUT / script
    if not path.exists():
        return ""
    return subprocess.run([str(path), "--help"], capture_output=True, text=True, timeout=60, check=True).stdout


def playbook_faults(words: list[str]) -> list[str]:
    playbook = next(word for word in words if word.endswith(".yml") and not word.startswith(".eco2/"))
    path = plans.CHECKOUT / playbook
    if not path.exists():
        return [f"there is no {playbook}"]
    sources = [path, *(plans.CHECKOUT / "ansible/roles").rglob("*.yml")]
    text = "\n".join(source.read_text() for source in sources)
    found = []
    for name, value in pairwise(words):
        if name == "--tags" and value not in tags(yaml.safe_load(path.read_text())):
            found.append(f"{playbook} has no tag {value}")
        if name == "-e" and value.split("=")[0] not in text:
            found.append(f"no role reads {value.split('=')[0]}")
    return found


def tags(node: object) -> set[str]:
    """Of all plays, roles and tasks of a playbook."""
    if isinstance(node, list):
        return {tag for item in node for tag in tags(item)}
    if not isinstance(node, dict):
        return set()
    own = node.get("tags", [])
    return {own} if isinstance(own, str) else {*own, *(tag for value in node.values() for tag in tags(value))}


def terraform_faults(words: list[str]) -> list[str]:
    known = (plans.CHECKOUT / "terraform/variables.tf").read_text()
    outputs = (plans.CHECKOUT / "terraform/outputs.tf").read_text()
    found = []
    for word in words:
        if word.startswith("-var-file=") and not (plans.CHECKOUT / "terraform" / word.split("=")[1]).exists():
            found.append(f"there is no {word.split('=')[1]}")
        if word.startswith("-var=") and f'variable "{word.split("=")[1]}"' not in known:
            found.append(f"there is no variable {word.split('=')[1]}")
    if "output" in words:
        named = [word for word in words[words.index("output") + 1 :] if not word.startswith(("-", ">", "."))]
        found += [f"there is no output {name}" for name in named if f'output "{name}"' not in outputs]
    return found


def test_every_command_of_the_guide_can_be_given() -> None:
    if not (plans.CHECKOUT / "ansible/site.yml").exists():
        pytest.skip("there are no playbooks: the commands that name them were not checked")
    text = GUIDE.read_text()
    assert len([words for words in commands(text) if words[0].startswith("scripts/")]) > 10
    assert faults(text) == []


@pytest.mark.parametrize(
    "command",
    [
        "scripts/destroy-with-cleanup.sh --environment dev --force",
        "scripts/destroy.sh --environment dev",
        "ansible-playbook -i x ansible/sites.yml",
        "ansible-playbook -i x ansible/site.yml --tags everything",
        "terraform -chdir=terraform apply -var-file=envs/test.tfvars",
        "terraform -chdir=terraform apply -var=protect=false",
        "terraform -chdir=terraform output -raw inventory",
    ],
)
def test_a_command_that_cannot_be_given_is_found(command: str) -> None:
    assert faults(f"```sh\n{command}\n```\n")
    assert faults(f"Then `{command}`.")


def test_the_costs_are_those_of_the_layouts() -> None:
    written = re.search(r"<!-- cost -->\n(.*?)\n<!-- /cost -->", GUIDE.read_text(), re.S)
    assert written
    assert written[1] == costs.table(plans.CHECKOUT)

"""A mirror with the schema-only provider, and the configuration that makes Terraform use it (`TF_CLI_CONFIG_FILE`).

.venv-infra/bin/python -m tools.infra.mirror WHEEL FOLDER
"""

import json
import sys
from pathlib import Path

from tools.infra import provider, schema

VERSION = "6.25.0"
"""Of the AWS provider that the bindings were generated from."""


def build(wheel: Path, folder: Path) -> Path:
    """Write the mirror into `folder`; the path of Terraform's configuration. What is there already is kept."""
    described = folder / f"aws-{wheel.stem}.json"
    place = folder / "mirror/registry.terraform.io/hashicorp/aws" / VERSION / "linux_amd64"
    program = place / f"terraform-provider-aws_v{VERSION}"
    configuration = folder / "terraformrc"
    if not described.exists():
        folder.mkdir(parents=True, exist_ok=True)
        draft = described.with_suffix(".draft")
        draft.write_text(json.dumps(schema.extract(wheel), separators=(",", ":")))
        draft.rename(described)
    place.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{provider.__file__}" "{described}"\n')
    program.chmod(0o755)
    configuration.write_text(
        f'provider_installation {{\n  filesystem_mirror {{\n    path = "{folder}/mirror"\n  }}\n}}\n'
    )
    return configuration


if __name__ == "__main__":
    print(build(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))

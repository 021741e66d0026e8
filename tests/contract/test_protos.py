"""The committed gRPC code is that of proto/."""

import subprocess
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_generated_code_is_that_of_the_sources(tmp_path: Path) -> None:
    subprocess.run([CHECKOUT / "scripts/protos", tmp_path], check=True)
    fresh = {path.name: path.read_bytes() for path in (tmp_path / "eco2/contracts/pb").iterdir()}
    committed = {path: (CHECKOUT / "eco2/contracts/pb" / path).read_bytes() for path in fresh}
    assert fresh == committed, "run `make proto` and commit the change"
    assert "ext_authz_pb2.py" in fresh

#!/usr/bin/python3
"""Back up etcd and the keys of the cluster to S3, encrypted for the operator.

eco2-etcd-backup save         make a backup
eco2-etcd-backup list         what there is, the newest last
eco2-etcd-backup fetch KEY FILE   bring one back (`latest`: the newest), still encrypted

A backup is a tar of snapshot.db, /etc/kubernetes/pki and the file that encrypts Secrets, encrypted with age: a new
control plane node needs the authorities of the old one, or nodes and Pods do not believe it.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

SETTINGS = Path("/etc/eco2/etcd-backup.json")
STATE = Path("/var/lib/eco2/etcd-backups")
KUBERNETES = Path("/etc/kubernetes")
CERTIFICATES = KUBERNETES / "pki/etcd"
ENDING = ".tar.age"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("save")
    commands.add_parser("list")
    fetch_command = commands.add_parser("fetch")
    fetch_command.add_argument("key")
    fetch_command.add_argument("file", type=Path)
    arguments = parser.parse_args()
    settings = json.loads(SETTINGS.read_text())
    os.umask(0o077)
    try:
        if arguments.command == "save":
            save(settings)
        elif arguments.command == "list":
            print("\n".join(keys(settings)))
        else:
            fetch(settings, arguments.key, arguments.file)
    except subprocess.CalledProcessError as error:
        sys.exit(f"eco2-etcd-backup: {error.cmd[0]}: {(error.stderr or b'').decode(errors='replace').strip() or error}")


def save(settings: dict) -> None:
    STATE.mkdir(parents=True, exist_ok=True)
    for left in STATE.glob("*.part"):
        left.unlink()
    moment = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H%M%SZ")
    with tempfile.TemporaryDirectory(dir=STATE) as folder:
        snapshot = Path(folder) / "snapshot.db"
        etcdctl(settings, "snapshot", "save", str(snapshot))
        archive = Path(folder) / "archive.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(snapshot, "snapshot.db")
            for path in (KUBERNETES / "pki", KUBERNETES / "policies"):
                tar.add(path, path.name)
        part = STATE / f"{moment}{ENDING}.part"
        run("age", "--encrypt", "--recipient", settings["recipient"], "--output", str(part), str(archive))
    whole = part.with_suffix("")
    part.rename(whole)
    key = f"{settings['prefix']}/{whole.name}"
    size = whole.stat().st_size
    client = s3(settings)
    client.upload_file(str(whole), settings["bucket"], key, ExtraArgs={"ServerSideEncryption": "AES256"})
    stored = client.head_object(Bucket=settings["bucket"], Key=key)["ContentLength"]
    if stored != size:
        sys.exit(f"eco2-etcd-backup: {key} has {stored} bytes in S3 and {size} here")
    # Only now is it a backup.
    (STATE / "last").write_text(f"{key}\n")
    for old in sorted(STATE.glob(f"*{ENDING}"))[: -settings["local_copies"]]:
        old.unlink()
    print(f"s3://{settings['bucket']}/{key}: {size} bytes")


def fetch(settings: dict, key: str, file: Path) -> None:
    if key == "latest":
        found = keys(settings)
        if not found:
            sys.exit(f"eco2-etcd-backup: s3://{settings['bucket']}/{settings['prefix']}/ holds no backup")
        key = found[-1]
    s3(settings).download_file(settings["bucket"], key, str(file))
    print(key)


def keys(settings: dict) -> list:
    """Sorted by time, which their names begin with."""
    pages = s3(settings).get_paginator("list_objects_v2")
    found = pages.paginate(Bucket=settings["bucket"], Prefix=settings["prefix"] + "/")
    rows = [row["Key"] for page in found for row in page.get("Contents", [])]
    return sorted(key for key in rows if key.endswith(ENDING))


def s3(settings: dict):
    import boto3  # only where it is needed: it takes half a second

    return boto3.client("s3", region_name=settings["region"], endpoint_url=settings["endpoint"] or None)


def etcdctl(settings: dict, *arguments: str) -> None:
    run(
        f"{settings['tools']}/etcdctl",
        "--endpoints=https://127.0.0.1:2379",
        f"--cacert={CERTIFICATES}/ca.crt",
        f"--cert={CERTIFICATES}/healthcheck-client.crt",
        f"--key={CERTIFICATES}/healthcheck-client.key",
        *arguments,
    )


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=600, env={**os.environ, "ETCDCTL_API": "3"})


if __name__ == "__main__":
    main()

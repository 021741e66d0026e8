"""SeaweedFS, the object store."""

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from eco2.local import config, probes
from eco2.local.config import Layout
from eco2.local.servers.common import PLAIN, own_file, own_folder, script
from eco2.local.supervisor import Unit

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CORSRuleTypeDef, LifecycleRuleTypeDef

_STORED = "stored.txt"
"""An object of the public bucket that `setup_buckets` writes and the readiness probe reads."""


def _prepare(at: Layout) -> None:
    folder = own_folder(at.folder("object-store"), None)
    key = {"accessKey": at.credentials.s3_access_key, "secretKey": at.credentials.s3_secret_key}
    identity = {"name": "eco2", "credentials": [key], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    own_file(folder / "s3.json", json.dumps({"identities": [identity]}), None)


_STORE_SIDE_PORTS = {
    "master.port": config.STORE_MASTER,
    "master.port.grpc": config.STORE_MASTER_GRPC,
    "volume.port": config.STORE_VOLUME,
    "volume.port.grpc": config.STORE_VOLUME_GRPC,
    "filer.port": config.STORE_FILER,
    "filer.port.grpc": config.STORE_FILER_GRPC,
    "s3.port.grpc": config.STORE_S3_GRPC,
}


def _volume_keys(at: Layout) -> dict[str, str]:
    key = at.credentials.store_signing_key
    return {"WEED_JWT_SIGNING_KEY": key, "WEED_JWT_SIGNING_READ_KEY": key}


def unit(at: Layout) -> Unit:
    folder = at.folder("object-store")
    port = at.port_of("object-store")
    options = {
        "dir": str(folder),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3": "true",
        "s3.port": str(port),
        "s3.config": str(folder / "s3.json"),
        "s3.port.iceberg": "0",
        "s3.port.lance": "0",
        "s3.iam": "false",
        "s3.localSocket": str(folder / "s3.sock"),
        "filer": "true",
        "filer.localSocket": str(folder / "filer.sock"),
        # Any page in a browser on this machine can send forms to its other ports, which do not authenticate: master
        # and filer speak gRPC only, the volumes want tokens (below).
        "disableHttp": "true",
        "filer.disableHttp": "true",
        "master.telemetry": "false",
        "master.electionTimeout": "500ms",  # it is alone: no need to wait 10 s for other masters
        "master.heartbeatInterval": "100ms",
        "master.volumeSizeLimitMB": "256",
        "volume.max": "100",
        "volume.preStopSeconds": "0",
        **{name: str(at.port(offset)) for name, offset in _STORE_SIDE_PORTS.items()},
    }
    return Unit(
        "object-store",
        "server",
        port,
        (str(script("weed")), "-logtostderr", "server", *(f"-{key}={value}" for key, value in options.items())),
        # `/status` is answered before the volumes are known after a restart, when reading what is stored still fails
        # with 500. Without the bucket or the object in it there is nothing to read yet.
        probes.http(f"http://127.0.0.1:{port}/{config.BUCKET}/{_STORED}", statuses=(b"200", b"403", b"404")),
        # A small heap: the defaults let it grow to 350 MB. No GOMEMLIMIT, which counts the runtime too: near what is
        # always in use it has the garbage collector run without pause, 8 to 15 % of an idle core.
        environment={**PLAIN, "HOME": str(folder), "GOGC": "10", **_volume_keys(at)},
        folder=folder,
        stop_seconds=3,  # its filer waits 15 s for its own streams; stored objects are in the files already
        prepare=partial(_prepare, at),
        side_ports=tuple(at.port(offset) for offset in _STORE_SIDE_PORTS.values()),
    )


def setup_buckets(environment: dict[str, str]) -> None:
    """Buckets of photos (public, not listed), of uploads (written by our origins), and a private one."""
    import boto3
    from botocore.exceptions import ClientError

    public, uploads = environment["ECO2_STORAGE_BUCKET"], environment["ECO2_UPLOAD_BUCKET"]
    s3 = boto3.client(
        "s3",
        endpoint_url=environment["ECO2_STORAGE_ENDPOINT"],
        aws_access_key_id=environment["ECO2_STORAGE_ACCESS_KEY"],
        aws_secret_access_key=environment["ECO2_STORAGE_SECRET_KEY"],
        region_name="ap-northeast-2",
    )
    for name in (public, uploads, environment["ECO2_OPS_BUCKET"]):
        try:
            s3.head_bucket(Bucket=name)
        except ClientError:
            s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "ap-northeast-2"})
    origins = json.loads(environment["ECO2_CORS_ORIGINS"])
    s3.put_bucket_cors(Bucket=public, CORSConfiguration={"CORSRules": [_cors(origins, "GET", "HEAD")]})
    s3.put_bucket_cors(Bucket=uploads, CORSConfiguration={"CORSRules": [_cors(origins, "PUT")]})
    day: LifecycleRuleTypeDef = {"ID": "a-day", "Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1}}
    with suppress(ClientError):  # not every store expires objects; the task `cleanup.photos` needs none that does
        s3.put_bucket_lifecycle_configuration(Bucket=uploads, LifecycleConfiguration={"Rules": [day]})
    read = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{public}/*"}
    s3.put_bucket_policy(Bucket=public, Policy=json.dumps({"Version": "2012-10-17", "Statement": [read]}))
    s3.put_object(
        Bucket=public, Key=_STORED, Body=b"This can be read, so the store is ready.\n", ContentType="text/plain"
    )


def _cors(origins: list[str], *methods: str) -> "CORSRuleTypeDef":
    return {"AllowedOrigins": origins, "AllowedMethods": list(methods), "AllowedHeaders": ["Content-Type"]}

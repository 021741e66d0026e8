"""Buckets, the CDN in front of them, and the zone."""

from collections.abc import Iterator

import yaml

from tests.infra.checks.registry import checker
from tests.infra.plans import CHECKOUT, Plan


def _uploads_kept(plan: Plan) -> None:
    rules = plan.resources['aws_s3_bucket_lifecycle_configuration.this["uploads"]']["rule"]
    rules[:] = [rule for rule in rules if rule["id"] != "old"]


def _images_with_versions(plan: Plan) -> None:
    plan.resources['aws_s3_bucket_versioning.this["images"]'] = {"bucket": "images"}


def _backups_without_versions(plan: Plan) -> None:
    del plan.resources['aws_s3_bucket_versioning.this["ops"]']


def _public_uploads(plan: Plan) -> None:
    plan.resources['aws_s3_bucket_public_access_block.this["uploads"]']["restrict_public_buckets"] = False


def _public_acl(plan: Plan) -> None:
    plan.resources['aws_s3_bucket_public_access_block.this["images"]']["block_public_acls"] = False


def _plain_bucket(plan: Plan) -> None:
    del plan.resources['aws_s3_bucket_server_side_encryption_configuration.this["ops"]']


def _data_dies_with_the_cluster(plan: Plan) -> None:
    plan.resources['aws_s3_bucket.this["ops"]']["force_destroy"] = True


@checker(
    *(_uploads_kept, _images_with_versions, _backups_without_versions, _public_uploads, _public_acl, _plain_bucket),
    _data_dies_with_the_cluster,
)
def buckets_keep_what_they_should(plan: Plan) -> Iterator[str]:
    direct = plan.outputs["storage"]["ECO2_STORAGE_PUBLIC_ENDPOINT"].startswith("https://s3.")
    public = {"oidc", "images"} if direct else {"oidc"}
    for name in ("uploads", "images", "ops", "ssm", "oidc"):
        block = plan.resources.get(f'aws_s3_bucket_public_access_block.this["{name}"]', {})
        if not (block.get("block_public_acls") and block.get("ignore_public_acls")):
            yield f"{name} takes access lists"
        if (name not in public) != bool(block.get("block_public_policy") and block.get("restrict_public_buckets")):
            yield f"{name} {'can be public' if name not in public else 'cannot serve what is public'}"
        if f'aws_s3_bucket_server_side_encryption_configuration.this["{name}"]' not in plan.resources:
            yield f"{name} is not encrypted"
        versioned = f'aws_s3_bucket_versioning.this["{name}"]' in plan.resources
        if versioned != (name in ("ops", "oidc")):
            yield f"{name} {'keeps' if versioned else 'lacks'} versions"
        rules = plan.resources[f'aws_s3_bucket_lifecycle_configuration.this["{name}"]']["rule"]
        days = [rule["expiration"][0]["days"] for rule in rules if rule["id"] == "old"]
        if days != ([1] if name in ("uploads", "ssm") else []):
            yield f"{name} keeps objects for {days or 'ever'}"
        may_go = name == "ssm" or plan.is_given("delete_data")
        if plan.resources[f'aws_s3_bucket.this["{name}"]']["force_destroy"] != may_go:
            yield f"{name} would be destroyed with what is in it, or only when empty where that does not matter"


def _zone_goes_with_its_names(plan: Plan) -> None:
    plan.resources["aws_route53_zone.public[0]"]["force_destroy"] = True


@checker(_zone_goes_with_its_names)
def the_zone_goes_with_its_records_when_data_does(plan: Plan) -> Iterator[str]:
    for address, zone in plan.of("aws_route53_zone"):
        if address.startswith("aws_route53_zone.public") and zone["force_destroy"] != plan.is_given("delete_data"):
            yield f"{address} {'would be' if zone['force_destroy'] else 'cannot be'} destroyed with its records"


def _another_bucket(plan: Plan) -> None:
    plan.outputs["storage"]["ECO2_UPLOAD_BUCKET"] = "uploads"


def _another_host(plan: Plan) -> None:
    plan.outputs["storage"]["ECO2_STORAGE_PUBLIC_ENDPOINT"] = "https://cdn.example.org"


@checker(_another_bucket, _another_host)
def processes_use_the_buckets_that_are_made(plan: Plan) -> Iterator[str]:
    folder = CHECKOUT / "workloads/domains/components"
    settings: dict[str, str] = {}
    for part in ("settings", f"environments/{plan.environment}"):
        document = yaml.safe_load((folder / part / "kustomization.yaml").read_text())
        for generator in document.get("configMapGenerator", []):
            settings.update(line.split("=", 1) for line in generator.get("literals", []))
    # Without CloudFront the two addresses are changed by hand (docs/guides/operator.md).
    addresses = ("ECO2_STORAGE_PUBLIC_ENDPOINT", "ECO2_CDN_BASE_URL")
    cdn = any(True for _ in plan.of("aws_cloudfront_distribution"))
    for name, value in plan.outputs["storage"].items():
        if not cdn and name in addresses:
            if not value.startswith("https://s3."):
                yield f"{name} is {value} without a CDN"
        elif settings.get(name) != value:
            yield f"{name} is {value}, in the manifests {settings.get(name)}"


def _long_memory(plan: Plan) -> None:
    for _, policy in plan.of("aws_cloudfront_cache_policy"):
        policy["max_ttl"] = 86400


def _queries_reach_the_bucket(plan: Plan) -> None:
    for _, policy in plan.of("aws_cloudfront_cache_policy"):
        parameters = policy["parameters_in_cache_key_and_forwarded_to_origin"][0]
        parameters["query_strings_config"][0]["query_string_behavior"] = "all"


def _read_only_uploads(plan: Plan) -> None:
    for _, cdn in plan.of("aws_cloudfront_distribution"):
        cdn["ordered_cache_behavior"][0]["allowed_methods"] = ["GET", "HEAD"]


def _writable_images(plan: Plan) -> None:
    for _, cdn in plan.of("aws_cloudfront_distribution"):
        cdn["default_cache_behavior"][0]["allowed_methods"] = ["GET", "HEAD", "OPTIONS", "PUT"]


def _plain_http(plan: Plan) -> None:
    for _, cdn in plan.of("aws_cloudfront_distribution"):
        cdn["ordered_cache_behavior"][0]["viewer_protocol_policy"] = "allow-all"


def _no_cdn(plan: Plan) -> None:
    plan.resources = {key: row for key, row in plan.resources.items() if "aws_cloudfront_distribution" not in key}


@checker(*(_long_memory, _queries_reach_the_bucket, _read_only_uploads, _writable_images, _plain_http, _no_cdn))
def the_cdn_takes_uploads_and_forgets_photos(plan: Plan) -> Iterator[str]:
    wanted = plan.outputs["storage"]["ECO2_CDN_BASE_URL"].startswith("https://images.")
    found = list(plan.of("aws_cloudfront_distribution"))
    if len(found) != int(wanted):
        yield f"{len(found)} distributions, and photos at {plan.outputs['storage']['ECO2_CDN_BASE_URL']}"
    for address, cdn in found:
        host = plan.outputs["storage"]["ECO2_CDN_BASE_URL"].split("/")[2]
        if cdn["aliases"] != [host]:
            yield f"{address} answers for {cdn['aliases']}, and URLs name {host}"
        uploads, images = cdn["ordered_cache_behavior"][0], cdn["default_cache_behavior"][0]
        if uploads["path_pattern"] != f"/{plan.outputs['storage']['ECO2_UPLOAD_BUCKET']}/*":
            yield f"{address} takes uploads at {uploads['path_pattern']}"
        if "PUT" not in uploads["allowed_methods"]:
            yield f"{address} refuses uploads"
        if {"PUT", "POST", "DELETE", "PATCH"} & set(images["allowed_methods"]):
            yield f"{address} lets clients write photos"
        if "allow-all" in (uploads["viewer_protocol_policy"], images["viewer_protocol_policy"]):
            yield f"{address} answers without TLS"
    for address, policy in plan.of("aws_cloudfront_cache_policy"):
        if policy["max_ttl"] > 3600:
            yield f"{address} keeps deleted photos for {policy['max_ttl']} s"
        parameters = policy["parameters_in_cache_key_and_forwarded_to_origin"][0]
        if parameters["query_strings_config"][0]["query_string_behavior"] != "none":
            yield f"{address} hands queries to the bucket"

"""Bills in object storage: what lies under an `s3://` address, and each object brought here whole, with its digest.

Who we are there is said by the environment alone (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN,
AWS_REGION, AWS_ENDPOINT_URL_S3): no address, row, log or message ever holds a credential.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import basename, dirname
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from . import store
from .store import BLOCK, Taken, Unusable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

# Below a warning these tell signed headers, the session token among them.
for _name in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)

SCHEME = "s3://"
#: Objects that one look takes into account; a longer list is told, not cut.
MOST_OBJECTS = 100_000
ENVIRONMENT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
#: The storage's own codes, in words that say what to do.
WORDS = {
    "ExpiredToken": "the credentials have expired; give the portal fresh ones",
    "RequestExpired": "the credentials have expired; give the portal fresh ones",
    "TokenRefreshRequired": "the credentials have expired; give the portal fresh ones",
    "InvalidToken": "the session token is not valid; give the portal fresh credentials",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "AccessDenied": "the portal may not read there; it needs s3:ListBucket and s3:GetObject",
    "403": "the portal may not read there; it needs s3:ListBucket and s3:GetObject",
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such object",
    "404": "there is no such object",
    "412": "it changed while it was read; it is taken when it is whole",
    "PreconditionFailed": "it changed while it was read; it is taken when it is whole",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}


@dataclass(frozen=True, slots=True)
class Object:
    """One object as the storage lists it; `etag` changes with its content."""

    bucket: str
    key: str
    etag: str
    size: int

    @property
    def url(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def parse(url: str) -> tuple[str, str]:
    """Bucket and key or prefix. Raises Unusable for what is no such address."""
    bucket, _, key = url.removeprefix(SCHEME).partition("/")
    if not url.startswith(SCHEME) or not bucket or any(sign in url for sign in "?#@\\ \n"):
        raise Unusable(f"“{url[:200]}” is no address as s3://bucket/folder/ or s3://bucket/file.parquet.")
    return bucket, key


def deliveries(url: str) -> list[list[Object]]:
    """What lies there: each object directly at the address is a delivery, each folder below it one of many objects.

    An address that does not end in “/” names one object. Raises Unusable.
    """
    bucket, key = parse(url)
    with _client(url) as client:
        if key and not key.endswith("/"):
            head = client.head_object(Bucket=bucket, Key=key)
            store.suffix_of(key)
            return [[Object(bucket, key, head["ETag"], head["ContentLength"])]]
        found = [one for one in _listed(client, bucket, key, url) if _is_bill(one.key)]
    folders: dict[str, list[Object]] = {}
    for one in found:
        folder = dirname(one.key)
        folders.setdefault(one.key if folder == key.rstrip("/") else folder, []).append(one)
    return [sorted(some, key=lambda one: one.key) for _, some in sorted(folders.items())]


def _listed(client: "S3Client", bucket: str, prefix: str, url: str) -> Iterator[Object]:
    count = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for one in page.get("Contents", ()):
            count += 1
            if count > MOST_OBJECTS:
                raise Unusable(f"{url} holds more than {MOST_OBJECTS:,} objects; give a narrower address.")
            if one["Size"]:
                yield Object(bucket, one["Key"], one["ETag"], one["Size"])


def _is_bill(key: str) -> bool:
    """By its name; an export's manifest beside its files is none."""
    name = basename(key).lower()
    return name.endswith(store.SUFFIXES) and not (name.endswith(".json") and "manifest" in name)


def take(objects: Iterable[Object], folder: Path) -> list[Taken]:
    """Bring a delivery here: each object streamed to a file, never whole in memory. Raises Unusable; then nothing counts."""
    taken = []
    for number, one in enumerate(objects):
        with _client(one.url) as client:
            # Only as it was listed: a file that is replaced meanwhile is not mixed with the one before.
            answer = client.get_object(Bucket=one.bucket, Key=one.key, IfMatch=one.etag)
            made = store.take_stream(basename(one.key), answer["Body"].iter_chunks(BLOCK), folder, number)
        if made.size != one.size:
            raise Unusable(
                f"{one.url} ended after {made.size:,} of {one.size:,} bytes; it is taken when it is whole."
            )
        taken.append(made)
    return taken


@contextmanager
def _client(url: str) -> Iterator["S3Client"]:
    """A client by the environment's credentials; what goes wrong at the storage is Unusable, in words."""
    if lacking := [name for name in ENVIRONMENT if not os.environ.get(name)]:
        raise Unusable(
            f"{url} cannot be read: the portal has no credentials; set {' and '.join(lacking)} in its environment."
        )
    try:
        yield _connect(os.environ)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        words = WORDS.get(code, f"the storage answered “{code[:60]}”")
        raise Unusable(f"{url} cannot be read: {words}.") from None
    except (BotoCoreError, ValueError) as error:
        # The kind of error alone: a client's message may hold what it was made with.
        raise Unusable(
            f"{url} cannot be read: the storage was not reached ({type(error).__name__})."
        ) from None


def _connect(environment: Mapping[str, str]) -> "S3Client":
    """Credentials are passed by hand, so that no file of the user's and no metadata service is asked for others."""
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or None
    config = Config(
        connect_timeout=10,
        read_timeout=60,
        retries={"max_attempts": 3, "mode": "standard"},
        # What is no AWS seldom has a name for each bucket.
        s3={"addressing_style": "path" if endpoint else "auto"},
    )
    return boto3.client(
        "s3",
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=environment.get("AWS_SESSION_TOKEN") or None,
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1",
        endpoint_url=endpoint,
        config=config,
    )

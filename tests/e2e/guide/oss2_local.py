"""Stands where the guide's program opens its bucket: the same call, served from the data directory or S3.

The bucket that the guide writes to is the service's storage mount, so a key is ``<prefix>/<path under it>``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from minio import Minio

PREFIX = "aohai-singapore/"


class Bucket:
    """`oss2.Bucket` as far as the guide uses it."""

    def __init__(self) -> None:
        self._client: Minio | None = None
        if "S3_ENDPOINT" in os.environ:
            key, secret = os.environ["S3_KEYS"].split(",")
            endpoint = os.environ["S3_ENDPOINT"]
            self._client = Minio(
                endpoint, access_key=key, secret_key=secret, secure=False, region="us-east-1"
            )

    def get_object_to_file(self, key: str, filename: str) -> None:
        if not key.startswith(PREFIX):
            raise ValueError(f"not a key of this bucket: {key!r}")
        path = key[len(PREFIX) :]
        if self._client:
            self._client.fget_object(os.environ["S3_BUCKET"], path, filename)
        else:
            shutil.copyfile(Path(os.environ["STORE_DIR"]) / path, filename)

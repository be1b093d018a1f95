"""Pictures on any S3-compatible server, with MinIO's client."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from easel_store.base import (
    RESERVED_TOP_LEVEL,
    NotFoundError,
    StoreError,
    check_key,
    check_path,
    probe,
)

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0
"""MinIO's own defaults, five minutes each and six tries, would hang a render for half an hour."""

MAX_PRESIGN_S = 7 * 24 * 3600
"""Signature version 4 allows a week at most."""

_MISSING = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchObject", "ResourceNotFound"})
_ERRORS = (MinioException, urllib3.exceptions.HTTPError, OSError, ValueError)


@dataclass(frozen=True)
class S3Options:
    """Where and as whom. `endpoint` is ``host:port`` or an address; its scheme wins over `secure`."""

    endpoint: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    bucket: str = "easel"
    region: str = "us-east-1"
    """Naming it saves a GetBucketLocation round trip; servers other than AWS accept the default."""
    secure: bool = True
    prefix: str = ""
    """Put before every key, for example ``team-a/``; the store's callers never see it."""
    public_endpoint: str = ""
    """Where clients reach the same server, for presigned addresses: their signature covers the host name, so
    ``http://s3:8333`` inside a container network would be of no use to anybody outside. Empty: `endpoint`."""


class S3Store:
    """A `Store` in one bucket, made at the first write if it is missing."""

    def __init__(self, options: S3Options) -> None:
        host, secure = _host(options.endpoint, options.secure, "EASEL_S3_ENDPOINT")
        if not options.access_key or not options.secret_key:
            raise StoreError("S3 needs EASEL_S3_ACCESS_KEY and EASEL_S3_SECRET_KEY")
        self._prefix = options.prefix.strip("/")
        if self._prefix:
            check_path(self._prefix)
            self._prefix += "/"
        self._bucket = options.bucket
        self._region = options.region
        self._where = f"{'https' if secure else 'http'}://{host}, bucket {options.bucket!r}"
        self._bucket_lock = threading.Lock()
        self._bucket_ready = False
        pool = urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S),
            maxsize=16,
            cert_reqs="CERT_REQUIRED",
            ca_certs=certifi.where(),
            retries=urllib3.Retry(total=2, backoff_factor=0.2, status_forcelist=(500, 502, 503, 504)),
        )
        self._client = _client(options, host, secure, pool)
        self._signer = self._client
        if options.public_endpoint:
            public = _host(options.public_endpoint, options.secure, "EASEL_S3_PUBLIC_ENDPOINT")
            self._signer = _client(options, *public, pool)

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """See `Store.put`; S3 shows an object only when all of it has arrived."""
        name = self._name(key)
        self._make_bucket()
        try:
            self._client.put_object(self._bucket, name, io.BytesIO(data), len(data), content_type)
        except _ERRORS as exc:
            raise self._failed(f"write {key!r}", exc) from None

    def get(self, key: str) -> bytes:
        """See `Store.get`."""
        name = self._name(key)
        try:
            response = self._client.get_object(self._bucket, name)
            try:
                return response.read()
            finally:
                response.close()
                response.release_conn()
        except _ERRORS as exc:
            if _is_missing(exc):
                raise NotFoundError(f"nothing is stored under {key!r}") from None
            raise self._failed(f"read {key!r}", exc) from None

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        name = self._name(key)
        try:
            self._client.stat_object(self._bucket, name)
        except _ERRORS as exc:
            if _is_missing(exc):
                return False
            raise self._failed(f"look for {key!r}", exc) from None
        return True

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        name = self._name(key)
        try:
            self._client.remove_object(self._bucket, name)
        except _ERRORS as exc:
            if not _is_missing(exc):
                raise self._failed(f"delete {key!r}", exc) from None

    def list(self, prefix: str) -> Iterator[str]:
        """See `Store.list`; asks for the next thousand keys only when they are wanted."""
        try:
            for item in self._client.list_objects(self._bucket, self._prefix + prefix, recursive=True):
                name = item.object_name
                if not name or name.endswith("/"):
                    continue
                key = name[len(self._prefix) :]
                if key.partition("/")[0].casefold() not in RESERVED_TOP_LEVEL:
                    yield key
        except _ERRORS as exc:
            if not _is_missing(exc):
                raise self._failed(f"list {prefix!r}", exc) from None

    def presigned_url(self, key: str, expires_s: int) -> str:
        """See `Store.presigned_url`; `expires_s` is 1 second to 7 days. No round trip, nothing is checked."""
        if not 1 <= expires_s <= MAX_PRESIGN_S:
            raise StoreError(f"a presigned address can live 1 to {MAX_PRESIGN_S} seconds, not {expires_s}")
        name = self._name(key)
        try:
            return self._signer.presigned_get_object(self._bucket, name, timedelta(seconds=expires_s))
        except _ERRORS as exc:
            raise self._failed(f"sign an address for {key!r}", exc) from None

    def check(self) -> None:
        """See `Store.check`; makes the bucket if it is missing."""
        probe(self)

    def tidy(self, older_than_s: float) -> int:
        """See `Store.tidy`."""
        return 0

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)

    def _make_bucket(self) -> None:
        with self._bucket_lock:
            if self._bucket_ready:
                return
            try:
                if not self._client.bucket_exists(self._bucket):
                    self._client.make_bucket(self._bucket, self._region or None)
            except _ERRORS as exc:
                # Another process of ours may have made it between the two calls.
                if not (isinstance(exc, S3Error) and exc.code == "BucketAlreadyOwnedByYou"):
                    raise self._failed("open or make the bucket", exc) from None
            self._bucket_ready = True

    def _failed(self, doing: str, exc: Exception) -> StoreError:
        """A StoreError with what to do; raise it `from None`: a server's words may repeat the access key."""
        code, status = _code(exc)
        return StoreError(f"S3 at {self._where}: cannot {doing} ({code}); {_advice(code, status)}")


def _client(options: S3Options, host: str, secure: bool, pool: urllib3.PoolManager) -> Minio:
    try:
        client = Minio(
            host,
            access_key=options.access_key,
            secret_key=options.secret_key,
            region=options.region or None,
            secure=secure,
            http_client=pool,
        )
    except ValueError as exc:
        raise StoreError(f"EASEL_S3_ENDPOINT or EASEL_S3_REGION: {exc}") from None
    # Path style works with every server, without DNS for each bucket. Alibaba's OSS alone refuses it.
    if not host.partition(":")[0].endswith("aliyuncs.com"):
        client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call] # minio's own
    return client


def _host(endpoint: str, secure: bool, setting: str) -> tuple[str, bool]:
    """Host with port, and whether to use TLS."""
    if "://" not in endpoint:
        host = endpoint.strip("/")
    else:
        url = urlsplit(endpoint)
        if url.scheme not in {"http", "https"} or url.path.strip("/") or url.query or url.username:
            raise StoreError(f"{setting}: use http(s)://host:port, without a path or a user")
        host, secure = url.netloc, url.scheme == "https"
    if not host:
        raise StoreError(f"{setting}: use host:port or http(s)://host:port")
    return host, secure


def _code(exc: Exception) -> tuple[str, int]:
    """S3 error code and HTTP status, as far as the answer tells them (0: it was no answer)."""
    if isinstance(exc, S3Error):
        return exc.code or "", int(exc.response.status)
    if isinstance(exc, InvalidResponseError):
        # Servers that label XML "text/xml; charset=utf-8" (rclone) end here; all there is is the status.
        status = int(getattr(exc, "_code", 0) or 0)
        return f"HTTP {status}", status
    if isinstance(exc, ServerError):
        return f"HTTP {exc.status_code}", exc.status_code
    if isinstance(exc, urllib3.exceptions.MaxRetryError) and exc.reason is not None:
        if isinstance(exc.reason, urllib3.exceptions.ResponseError):
            return "HTTP 5xx", 500  # it answered, every time with an error of its own
        return type(exc.reason).__name__, 0  # NameResolutionError, NewConnectionError, SSLError, …
    return type(exc).__name__, 0


def _is_missing(exc: Exception) -> bool:
    code, status = _code(exc)
    return code in _MISSING or status == 404


def _advice(code: str, status: int) -> str:
    if code in {"RequestTimeTooSkewed"}:
        return "set this machine's clock"
    if code in {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}:
        return "check EASEL_S3_REGION"
    if code == "InvalidBucketName":
        return "check EASEL_S3_BUCKET: 3 to 63 lower-case letters, digits, '.' and '-'"
    if status in {400, 401, 403}:
        return "check EASEL_S3_ACCESS_KEY and EASEL_S3_SECRET_KEY, and that they may use this bucket"
    if status >= 500:
        return "the server has a problem of its own: see its log, and its free space"
    if status == 0:
        return "check EASEL_S3_ENDPOINT and EASEL_S3_SECURE, and that the server runs"
    return "check the EASEL_S3_ settings"

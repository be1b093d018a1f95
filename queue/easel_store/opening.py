"""Choosing the store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Protocol

from easel_store.base import CLAIMS_FOLDER, NUMBERS_FOLDER, Store, StoreError
from easel_store.local import LocalStore
from easel_store.s3 import S3Options, S3Store


def open_store(data_dir: Path, s3: S3Options | None) -> Store:
    """The S3 store if `s3` is given, else the data directory itself. Reads and writes nothing yet.

    With S3 only pictures move there; models stay under `data_dir`.

    Raises:
        StoreError: the S3 options make no sense (endpoint, bucket name, missing keys).
    """
    return LocalStore(data_dir) if s3 is None else S3Store(s3)


class Secret(Protocol):
    """A value that does not print itself, such as pydantic's SecretStr."""

    def get_secret_value(self) -> str: ...


class StorageSettings(Protocol):
    """The settings that choose a store. A protocol, because this package knows no other of ours."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def s3_endpoint(self) -> str | None: ...
    @property
    def s3_access_key(self) -> Secret | None: ...
    @property
    def s3_secret_key(self) -> Secret | None: ...
    @property
    def s3_bucket(self) -> str: ...
    @property
    def s3_region(self) -> str: ...
    @property
    def s3_secure(self) -> bool: ...
    @property
    def s3_prefix(self) -> str: ...
    @property
    def s3_public_endpoint(self) -> str: ...


def configured_store(settings: StorageSettings) -> Store:
    """The store that the settings name: S3 when an endpoint is set, else the data directory.

    Raises:
        StoreError: as `open_store`.
    """
    return open_store(settings.data_dir, _s3_options(settings))


def claims_store(settings: StorageSettings) -> Store:
    """The private part of the same store, where the queue's large bodies lie. Its keys cannot be reached
    through `configured_store`.

    Raises:
        StoreError: as `open_store`.
    """
    return _private_store(settings, CLAIMS_FOLDER)


def numbers_store(settings: StorageSettings) -> Store:
    """The private part of the same store in which workers settle who numbers the next picture.

    Raises:
        StoreError: as `open_store`.
    """
    return _private_store(settings, NUMBERS_FOLDER)


def _private_store(settings: StorageSettings, folder: str) -> Store:
    options = _s3_options(settings)
    if options is None:
        return open_store(settings.data_dir / folder, None)
    return S3Store(replace(options, prefix=f"{options.prefix.strip('/')}/{folder}"))


def _s3_options(settings: StorageSettings) -> S3Options | None:
    if settings.s3_endpoint is None:
        return None
    if settings.s3_access_key is None or settings.s3_secret_key is None:
        raise StoreError("S3 needs EASEL_S3_ACCESS_KEY and EASEL_S3_SECRET_KEY")
    return S3Options(
        endpoint=settings.s3_endpoint,
        access_key=settings.s3_access_key.get_secret_value(),
        secret_key=settings.s3_secret_key.get_secret_value(),
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        secure=settings.s3_secure,
        prefix=settings.s3_prefix,
        public_endpoint=settings.s3_public_endpoint,
    )

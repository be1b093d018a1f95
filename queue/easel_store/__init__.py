"""Where pictures live: one small seam, a local directory or any S3-compatible server behind it."""

from __future__ import annotations

from easel_store.base import InvalidKeyError, NotFoundError, Store, StoreError, check_key
from easel_store.layout import MODEL_FOLDERS, make_layout
from easel_store.local import LocalStore
from easel_store.opening import StorageSettings, claims_store, configured_store, numbers_store, open_store
from easel_store.s3 import S3Options, S3Store

__all__ = [
    "MODEL_FOLDERS",
    "InvalidKeyError",
    "LocalStore",
    "NotFoundError",
    "S3Options",
    "S3Store",
    "StorageSettings",
    "Store",
    "StoreError",
    "check_key",
    "claims_store",
    "configured_store",
    "make_layout",
    "numbers_store",
    "open_store",
]

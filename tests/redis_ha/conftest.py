"""Replicated servers: shared ones for tests that leave them as they were, own ones for the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import Cluster, Watched, cluster, watched


@pytest.fixture(scope="session")
def shared_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Addresses by kind. Nobody may kill these servers."""
    folder = tmp_path_factory.mktemp("ha")
    with watched(folder / "watched", sentinels=1) as behind_sentinel, cluster(folder / "cluster") as three:
        yield {"sentinel": behind_sentinel.url, "cluster": three.url}


@pytest.fixture(params=["sentinel", "cluster"])
def url(request: pytest.FixtureRequest, shared_urls: dict[str, str]) -> str:
    """The address of each kind in turn."""
    return shared_urls[request.param]


@pytest.fixture
def own_watched(tmp_path: Path) -> Iterator[Watched]:
    """A master with one replica under three sentinels."""
    with watched(tmp_path / "watched") as setup:
        yield setup


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Three masters without replicas."""
    with cluster(tmp_path / "cluster") as setup:
        yield setup

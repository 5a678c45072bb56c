"""Projects, clusters and people of batches; nothing is sent to a cloud."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from backups.models import Cluster, Project
from backups.services import rate
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.services.batches.batches import Make, numbers


@pytest.fixture(autouse=True)
def broker(redis_url: str, settings: Any) -> Iterator[None]:
    """An empty bucket list: every test has another project, and so another bucket."""
    settings.BACKUP_BATCH_RATE = 100.0
    rate.close()
    yield
    rate.close()


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(
        cloud="otc", region="eu-de", project_id=f"batches-{next(numbers)}", name="shop"
    )


@pytest.fixture
def anna(project: Project) -> User:
    return give(User.objects.create_user(f"anna-{next(numbers)}"), Role.OPERATOR)


@pytest.fixture
def make_clusters(project: Project) -> Make:
    def make(count: int = 1, **columns: Any) -> list[Cluster]:
        values = {"project": project, "status": "200", "readiness": "ready"} | columns
        rows = [
            Cluster(cluster_id=f"id-{number}", name=f"cluster-{number}", **values)
            for number in itertools.islice(numbers, count)
        ]
        return Cluster.objects.bulk_create(rows)

    return make


@pytest.fixture
def admin(project: Project) -> User:
    return give(User.objects.create_user(f"admin-{next(numbers)}"), Role.ADMIN)

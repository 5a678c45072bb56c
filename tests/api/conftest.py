"""Accounts with roles, a cluster each in two projects, and programs with tokens."""

from __future__ import annotations

from typing import Any

import pytest

from backups.models import Cluster, Project
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.tokens.models import Scope
from tests.grants import give
from tests.tokens_made import Program, token_of


@pytest.fixture
def project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="p" * 32, name="shop")


@pytest.fixture
def other_project(db: None) -> Project:
    return Project.objects.create(cloud="otc", region="eu-de", project_id="q" * 32, name="bank")


def cluster_in(project: Project, name: str, **more: Any) -> Cluster:
    return Cluster.objects.create(project=project, name=name, cluster_id=f"id-{name}", **more)


@pytest.fixture
def cluster(project: Project) -> Cluster:
    return cluster_in(project, "orders", engine="OpenSearch", status="200")


@pytest.fixture
def hidden(other_project: Project) -> Cluster:
    return cluster_in(other_project, "accounts")


@pytest.fixture
def anna(project: Project) -> User:
    """An operator of the project `shop`."""
    return give(User.objects.create_user("anna"), Role.OPERATOR, project=project)


@pytest.fixture
def program(anna: User, redis_url: str) -> Program:
    """With a token of anna that may run."""
    return Program(token_of(anna, Scope.RUN, "nightly"))


@pytest.fixture
def reader(anna: User) -> Program:
    """With a token of anna that may read."""
    return Program(token_of(anna, Scope.READ, "report"))

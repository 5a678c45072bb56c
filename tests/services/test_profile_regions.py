"""`profile:` without region_name: regions that the account is not in do not fail for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from django.core.management import call_command

from backups.models import Connection
from backups.services.connections import manage, sync
from backups.services.connections.sync import sync_clusters
from backups.views.connections import rows_of
from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.audit.trail import Actor
from simulator.client import SimulatorControl
from tests.grants import give
from tests.services.clouds_entries import read_file, write_file

pytestmark = pytest.mark.django_db


@pytest.fixture
def profile(cloud: SimulatorControl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor profile with eu-nl and eu-de, and an entry of it that names no region."""
    document = read_file()
    ((name, entry),) = document["clouds"].items()
    vendor = {"auth": {"auth_url": entry["auth"].pop("auth_url")}, "regions": ["eu-nl", "eu-de"]}
    path = tmp_path / "clouds-public.yaml"
    path.write_text(yaml.safe_dump({"public-clouds": {"otcx": vendor}}))
    monkeypatch.setattr("openstack.config.loader.VENDOR_FILES", [str(path)])
    del entry["region_name"]
    entry["profile"] = "otcx"
    write_file({"clouds": {name: entry}})
    cloud.add_cluster("orders")


def states() -> dict[str, tuple[bool, bool]]:
    """Each region: whether it is connected, and whether it was set aside."""
    listed, _problem = manage.entries(administrator(), all_of_them=True)
    return {each.region: (each.connected, each.set_aside) for each in listed}


def administrator() -> User:
    user, is_new = User.objects.get_or_create(username="root")
    if is_new:
        give(user, Role.ADMIN)
    return user


def test_only_the_region_that_the_account_is_in_stays_connected(profile: None) -> None:
    results = {result.region: result for result in sync_clusters()}
    assert results["eu-de"].listed == 1
    assert results["eu-nl"].error == ""
    assert "no css endpoint for region 'eu-nl': it has css in eu-de" in results["eu-nl"].aside
    assert states() == {"eu-de": (True, False), "eu-nl": (False, True)}
    (again,) = sync_clusters()
    assert (again.region, again.error) == ("eu-de", "")
    sync.connect_new_entries()
    assert states()["eu-nl"] == (False, True)
    call_command("sync_clusters")  # raises where one failed


def test_the_page_says_why_and_what_to_do(profile: None) -> None:
    sync_clusters()
    listed, _problem = manage.entries(administrator(), all_of_them=True)
    [row] = [each for each in rows_of(listed, administrator()) if each.entry.region == "eu-nl"]
    assert str(row.state.label) == "Not used"
    assert row.words is not None
    assert "name it in region_name" in str(row.words.next_step)


def test_a_region_that_is_named_later_is_connected_again(profile: None) -> None:
    sync_clusters()
    document = read_file()
    ((_name, entry),) = document["clouds"].items()
    entry["regions"] = ["eu-de", "eu-nl"]
    write_file(document)
    sync.connect_new_entries()
    assert states() == {"eu-de": (True, False), "eu-nl": (True, False)}
    del entry["regions"]
    entry["region_name"] = "eu-de"
    write_file(document)
    sync_clusters()
    assert states()["eu-de"] == (True, False)


def test_a_guess_that_is_no_longer_made_is_not_listed(profile: None) -> None:
    sync_clusters()
    document = read_file()
    ((_name, entry),) = document["clouds"].items()
    entry["region_name"] = "eu-de"
    write_file(document)
    assert states() == {"eu-de": (True, False)}


def test_without_any_region_that_works_all_of_them_are_shown_as_failing(profile: None) -> None:
    document = read_file()
    ((_name, entry),) = document["clouds"].items()
    entry["auth"]["password"] = "wrong"
    write_file(document)
    assert [bool(result.error) for result in sync_clusters()] == [True, True]
    assert states() == {"eu-de": (True, False), "eu-nl": (True, False)}
    assert not Connection.objects.filter(sync_error="").exists()


def test_what_a_user_disconnected_stays_so(profile: None) -> None:
    sync_clusters()
    row = Connection.objects.get(region="eu-de")
    manage.disconnect(row, Actor("anna"))
    sync.connect_new_entries()
    assert states()["eu-de"] == (False, False)

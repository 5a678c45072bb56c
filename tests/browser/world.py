"""One set of data, and people who have signed in: for tests that only look."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.contrib.auth.models import Group
from django.test import Client

from dashboard.accounts.models import User
from dashboard.audit.trail import Actor
from dashboard.members.links import create_link
from simulator import clouds_file, server
from simulator.config import DEMO_REGIONS, SimulatorConfig
from tests.browser import crowded, typical
from tests.browser.pages import HALFWAY, KEYHOLDER, NOBODY, ROOT, VISITOR
from tests.security_keys import SoftwareKey

PASSWORD = "a-password"
DATA_SETS = {"empty": None, "typical": typical.fill, "crowded": crowded.fill}


@dataclass(frozen=True, slots=True)
class World:
    """What there is to look at.

    Attributes:
        data_set: a name of DATA_SETS.
        url: of the server, without a slash at the end.
        things: the keys of pages, by kind and by what they show.
        cookies: by who has signed in, for a browser's context.
    """

    data_set: str
    url: str
    things: dict[str, dict[str, str]]
    cookies: dict[str, list[Any]]


@contextmanager
def a_world(data_set: str, url: str, folder: Path) -> Iterator[World]:
    """Make a data set in an empty database.

    Args:
        data_set: a name of DATA_SETS.
        url: of a server with this database.
        folder: for clouds.yaml; the simulated cloud that it names has the demo's clusters.
    """
    with ExitStack() as around:
        environment = around.enter_context(pytest.MonkeyPatch.context())
        clouds = folder / "clouds.yaml"
        clouds.write_text("clouds: {}\n")
        environment.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
        if data_set == "typical":
            cloud = server.start(SimulatorConfig(demo=True, regions=DEMO_REGIONS))
            around.callback(cloud.stop)
            clouds_file.write(clouds, cloud.clouds_yaml())
        root = User.objects.create_superuser("root", password=PASSWORD)
        keyholder, code = _keyholder()
        nobody = User.objects.create_user("nobody", password=PASSWORD)
        fill = DATA_SETS[data_set]
        things = fill(root) if fill else {}
        key = Authenticator.objects.get(user=keyholder, type=Authenticator.Type.WEBAUTHN)
        things["security_key"] = {"": str(key.pk)}
        group = Group.objects.create(name="on-duty")
        nobody.groups.add(group)
        things["group"] = {"": str(group.pk)}
        things["account"] = {"member": str(nobody.pk), "own": str(root.pk)}
        _link, token = create_link(nobody, Actor("root", user=root))
        things["link"] = {"": f"?{urlencode({'key': token})}"}
        cookies = {
            ROOT: signed_in(url, root),
            KEYHOLDER: signed_in(url, keyholder, code),
            NOBODY: signed_in(url, nobody),
            HALFWAY: signed_in(url, keyholder),
            VISITOR: [],
        }
        yield World(data_set, url, things, cookies)


def _keyholder() -> tuple[User, str]:
    user = User.objects.create_user("keyholder", password=PASSWORD)
    types = Authenticator.Type
    Authenticator.objects.create(user=user, type=types.TOTP, data={"secret": "A" * 32})
    key = {"name": "Blue key", "credential": SoftwareKey().made("")}
    Authenticator.objects.create(user=user, type=types.WEBAUTHN, data=key)
    return user, RecoveryCodes.activate(user).get_unused_codes()[0]


def _cookies(url: str, web: Client) -> list[Any]:
    return [
        {"name": name, "value": cookie.value, "url": url} for name, cookie in web.cookies.items()
    ]


def signed_in(url: str, user: User, code: str = "") -> list[Any]:
    """Sign in as people do, so that the session knows how."""
    web = Client()
    typed = {"username": user.get_username(), "password": PASSWORD}
    assert web.post("/sign-in/", typed).status_code == 302
    if code:
        assert web.post("/sign-in/code/", {"code": code}).status_code == 302
    return _cookies(url, web)

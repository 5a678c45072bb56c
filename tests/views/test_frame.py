"""The frame, signing in and out, and the error pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.template.loader import render_to_string
from django.test import Client

from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from tests.grants import give
from tests.views.page_text import tight


def test_signing_in_leads_to_where_one_wanted_to_go(client: Client, anna: User) -> None:
    response = client.post(
        "/sign-in/", {"username": "anna", "password": "a-password", "next": "/history/"}
    )
    assert response.headers["Location"] == "/history/"


def test_a_wrong_password_is_told_and_the_name_is_kept(client: Client, anna: User) -> None:
    text = client.post("/sign-in/", {"username": "anna", "password": "x"}).content.decode()
    assert 'role="alert"' in text
    assert 'value="anna"' in text
    assert 'autocomplete="username"' in text
    assert 'autocomplete="current-password"' in text


def test_a_missing_password_is_told_at_its_field(client: Client, anna: User) -> None:
    text = client.post("/sign-in/", {"username": "anna"}).content.decode()
    assert 'id="password-problem"' in text


def test_signing_out_needs_a_post(web: Client) -> None:
    assert web.get("/sign-out/").status_code == 405
    assert web.post("/sign-out/").headers["Location"] == "/sign-in/"
    assert web.get("/clusters/").status_code == 302


def test_the_demo_says_that_its_cloud_is_simulated(web: Client, settings: Any) -> None:
    for demo in (True, False):
        settings.DEMO_CLOUD = demo
        assert ("Simulated cloud" in web.get("/clusters/").content.decode()) is demo


def test_the_place_in_the_navigation_is_marked(web: Client) -> None:
    text = tight(web.get("/history/").content.decode())
    assert '<a href="/history/" aria-current="page">' in text
    assert '<a href="/clusters/">' in text


def test_only_who_may_read_the_access_pages_is_led_there(web: Client, anna: User) -> None:
    User.objects.filter(pk=anna.pk).update(is_staff=True)  # of no meaning here
    assert "/settings/access/" not in web.get("/settings/").content.decode()
    give(anna, Role.AUDITOR)
    assert "/settings/access/" in web.get("/settings/").content.decode()


def test_a_banner_shows_what_is_wrong() -> None:
    alert = {"tone": "bad", "title": "No worker", "text": "Runs wait <here>."}
    text = render_to_string("components/banner.html", {"alerts": [alert]})
    assert "No worker" in text
    assert "Runs wait &lt;here&gt;." in text
    assert "<section" not in render_to_string("components/banner.html", {})


@pytest.mark.parametrize("name", ["400.html", "403.html", "403_csrf.html", "404.html", "500.html"])
def test_error_pages_need_nothing_to_render(name: str, settings: Any) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }
    text = render_to_string(name)
    assert "<h1>" in text
    assert "went wrong" not in text


def test_an_unknown_address_is_a_404_page(web: Client) -> None:
    response = web.get("/nowhere/")
    assert response.status_code == 404
    assert "Page not found" in response.content.decode()


def test_error_pages_keep_the_navigation_for_who_has_signed_in(web: Client, client: Client) -> None:
    for path, status in (("/nothing/", 404), ("/sign-out/", 405)):
        response = web.get(path)
        text = response.content.decode()
        assert response.status_code == status
        assert '<nav aria-label="Main">' in text
        assert 'href="/history/"' in text
    assert response["Allow"] == "POST, OPTIONS"
    assert '<nav aria-label="Main">' not in Client().get("/nothing/", follow=True).content.decode()

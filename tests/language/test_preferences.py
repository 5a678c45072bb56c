"""A reader's language and time zone: their own choice, else the browser's, else English and UTC."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation

from dashboard.accounts.models import User
from dashboard.preferences.languages import available, name_of
from tests.language import pseudo

GERMAN = {"Accept-Language": "fr-FR,de-CH;q=0.8,en;q=0.5"}
ENGLISH = {"Accept-Language": "en-GB,en;q=0.9"}


@pytest.fixture
def root(client: Client, db: None) -> Client:
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def two_languages(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    pseudo.install(monkeypatch, settings)


def prefer(**columns: str) -> None:
    User.objects.filter(username="root").update(**columns)


def language_of(client: Client, **headers: str) -> str:
    answer = client.get("/account/preferences/", headers=headers)
    assert answer.status_code == 200
    text = answer.content.decode()
    assert (f"{pseudo.OPEN}Time zone{pseudo.CLOSE}" in text) is (
        answer.headers["Content-Language"] == pseudo.CODE
    )
    return str(answer.headers["Content-Language"])


def test_without_a_choice_the_browser_says_which_language(
    root: Client, two_languages: None
) -> None:
    assert language_of(root, **GERMAN) == "de"
    assert language_of(root, **ENGLISH) == "en"


@pytest.mark.parametrize("said", ["", "fr", "*", "xx-", "de;q=x", ",,", "\N{SNOWMAN}", "a" * 600])
def test_where_there_is_no_such_language_pages_are_english(root: Client, said: str) -> None:
    assert language_of(root, **{"Accept-Language": said}) == "en"


def test_a_choice_counts_more_than_the_browser(root: Client, two_languages: None) -> None:
    prefer(language="de")
    assert language_of(root, **ENGLISH) == "de"
    prefer(language="en")
    assert language_of(root, **GERMAN) == "en"


def test_a_language_whose_catalogue_has_gone_is_no_choice(root: Client) -> None:
    prefer(language="de")
    assert language_of(root, **GERMAN) == "en"


def test_who_has_not_signed_in_reads_the_browsers_language(
    client: Client, db: None, two_languages: None
) -> None:
    assert client.get("/sign-in/", headers=GERMAN).headers["Content-Language"] == "de"


def test_the_language_of_one_request_does_not_leak_into_the_next(
    root: Client, two_languages: None
) -> None:
    prefer(language="de")
    root.get("/account/preferences/")
    assert translation.get_language() == "en"
    assert timezone.get_current_timezone_name() == "UTC"


def test_a_chosen_zone_counts_more_than_the_browsers(root: Client) -> None:
    root.cookies["tz"] = "Asia%2FKolkata"
    assert "Asia/Kolkata" in root.get("/audit/").content.decode()
    prefer(time_zone="Pacific/Auckland")
    text = root.get("/audit/").content.decode()
    assert "Pacific/Auckland" in text
    assert "Asia/Kolkata" not in text
    prefer(time_zone="UTC")
    assert "Asia/Kolkata" not in root.get("/audit/").content.decode()


@pytest.mark.parametrize("zone", ["Mars/Base", "../../etc/passwd", "x" * 64])
def test_a_stored_zone_that_is_none_is_the_browsers(root: Client, zone: str) -> None:
    prefer(time_zone=zone)
    root.cookies["tz"] = "Asia%2FKolkata"
    assert "Asia/Kolkata" in root.get("/audit/").content.decode()


def test_preferences_are_kept_and_the_page_answers_in_them(
    root: Client, two_languages: None
) -> None:
    sent = {"language": "de", "time_zone": "Europe/Vienna"}
    answer = root.post("/account/preferences/", sent, follow=True)
    text = answer.content.decode()
    assert f"{pseudo.OPEN}Your preferences have been saved.{pseudo.CLOSE}" in text
    assert '<option value="de" selected>Deutsch</option>' in text
    assert '<option value="Europe/Vienna" selected>Europe/Vienna</option>' in text
    user = User.objects.get(username="root")
    assert (user.language, user.time_zone) == ("de", "Europe/Vienna")


def test_as_the_browser_says_is_a_choice_too(root: Client) -> None:
    prefer(time_zone="Europe/Vienna")
    root.post("/account/preferences/", {"language": "", "time_zone": ""})
    assert User.objects.get(username="root").time_zone == ""


@pytest.mark.parametrize(
    "sent", [{"language": "xx"}, {"time_zone": "Mars/Base"}, {"language": "<script>"}]
)
def test_what_is_not_offered_is_refused_at_its_field(root: Client, sent: dict[str, str]) -> None:
    answer = root.post("/account/preferences/", sent)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.content.decode()
    assert "<script>" not in answer.content.decode().partition("<main")[2]
    user = User.objects.get(username="root")
    assert (user.language, user.time_zone) == ("", "")


def test_an_error_page_is_in_the_language_and_says_so(root: Client, two_languages: None) -> None:
    prefer(language="de")
    answer = root.get("/no-such-page/")
    assert answer.status_code == 404
    text = answer.content.decode()
    assert '<html lang="de">' in text
    assert f"{pseudo.OPEN}Page not found{pseudo.CLOSE}" in text


# --- a language is a catalogue -------------------------------------------------------------------
def compiled(texts: dict[str, str]) -> bytes:
    """A catalogue as msgfmt compiles it."""
    texts = {"": "Content-Type: text/plain; charset=UTF-8\n", **texts}
    pairs = sorted((key.encode(), value.encode()) for key, value in texts.items())
    at, tables, blob = 28 + 16 * len(pairs), [], b""
    for column in (0, 1):
        for pair in pairs:
            tables.append(struct.pack("<II", len(pair[column]), at + len(blob)))
            blob += pair[column] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, at)
    return head + b"".join(tables) + blob


def test_a_catalogue_in_the_folder_is_all_that_a_language_takes(
    root: Client, tmp_path: Path, settings: Any
) -> None:
    file = tmp_path / "he" / "LC_MESSAGES" / "django.mo"
    file.parent.mkdir(parents=True)
    file.write_bytes(compiled({"Page not found": "אין דף כזה"}))
    settings.LOCALE_PATHS = [tmp_path]
    settings.LANGUAGES = available(tmp_path)
    assert settings.LANGUAGES == [("en", "English"), ("he", "עברית")]
    prefer(language="he")
    text = root.get("/no-such-page/").content.decode()
    assert '<html lang="he" dir="rtl">' in text
    assert "<h1>אין דף כזה</h1>" in text
    assert "Go to the home page" in text  # what a catalogue lacks is shown in English


def test_a_folder_without_a_compiled_catalogue_is_no_language(tmp_path: Path) -> None:
    (tmp_path / "de" / "LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "de" / "LC_MESSAGES" / "django.po").touch()
    assert available(tmp_path) == [("en", "English")]
    assert available(tmp_path / "missing") == [("en", "English")]
    assert name_of("tlh") == "Tlh"

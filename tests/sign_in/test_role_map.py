"""Group names with commas, as in LDAP, can be mapped to roles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.sign_in.role_map import groups_of, parse_role_map, split_role_map
from tests.dashboard.test_environment import errors, load

NAME = "CN=css-admins,OU=Groups,DC=corp,DC=example"
OTHER = "CN=Ops\\, Berlin,OU=Groups,DC=corp"


def mapped(text: str) -> list[tuple[str, str, str]]:
    return [
        (each.group, str(each.role), each.project) for each in parse_role_map(split_role_map(text))
    ]


@pytest.mark.parametrize(
    "text",
    [
        f"{NAME}=admin:all",
        f'"{NAME}"=admin:all',
        f'"{NAME}=admin:all"',
        f"# who may do everything\n{NAME}=admin:all\n\n",
        json.dumps({NAME: "admin:all"}),
        json.dumps({NAME: ["admin:all"]}, indent=2),
    ],
)
def test_a_name_of_a_directory_is_one_group(text: str) -> None:
    assert mapped(text) == [(NAME, "admin", "all")]
    held = groups_of({"groups": [NAME]}, "groups")
    assert {group for group, _, _ in mapped(text)} <= held


def test_names_stand_beside_plain_groups() -> None:
    text = f"ops=operator:all, {NAME}=admin:all,the auditors=auditor:all ,"
    assert mapped(text) == [
        ("ops", "operator", "all"),
        (NAME, "admin", "all"),
        ("the auditors", "auditor", "all"),
    ]


def test_json_takes_every_group_and_several_roles() -> None:
    text = json.dumps({OTHER: ["viewer:all", "operator:otc/eu-de/shop"], "a=b:c": "auditor:all"})
    assert mapped(text) == [
        (OTHER, "viewer", "all"),
        (OTHER, "operator", "otc/eu-de/shop"),
        ("a=b:c", "auditor", "all"),
    ]


@given(st.dictionaries(st.text(min_size=1).filter(str.strip), st.just("viewer:all"), min_size=1))
def test_json_takes_any_text_for_a_group(groups: dict[str, str]) -> None:
    assert [group for group, _, _ in mapped(json.dumps(groups))] == [g.strip() for g in groups]


@pytest.mark.parametrize(
    "text",
    [
        "ops",
        "ops=operator",
        "ops=operators:all,auditors=auditor:all",
        "ops=operator,auditors=auditor:all",
        NAME,
        f"{NAME}=admin",
        "{",
        '["ops=operator:all"]',
        '{"ops": 1}',
        '{"ops": [["operator:all"]]}',
        '{"ops": "operator"}',
        '{"ops": "operators:all"}',
    ],
)
def test_what_is_no_map_is_one_line_and_gives_nobody_a_role(text: str) -> None:
    loaded = load({"OIDC_ROLE_MAP": text})
    (line,) = errors(loaded)
    assert line.startswith("(css.E016) OIDC_ROLE_MAP: ")
    assert "JSON" in line


def test_a_file_holds_the_map(tmp_path: Path) -> None:
    file = tmp_path / "roles"
    file.write_text(f"{NAME}=admin:all\nops=operator:all\n")
    loaded = load({"OIDC_ROLE_MAP_FILE": str(file)})
    assert errors(loaded) == []
    assert loaded["OIDC_ROLE_MAP"] == [f"{NAME}=admin:all", "ops=operator:all"]

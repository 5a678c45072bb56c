"""What the simulated cloud refuses when log settings are changed or logs are searched."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import requests
from simulator_access import Css

from simulator.client import SimulatorControl

STORAGE = {"agency": "css_obs_agency", "logBasePath": "css/log", "logBucket": "my-bucket"}
POLICY = {"period": "05:00 GMT+02:00"}
CALLS: dict[str, tuple[str, str, dict[str, str] | None]] = {
    "open": ("POST", "/logs/open", STORAGE),
    "settings": ("POST", "/logs/settings", STORAGE),
    "close": ("PUT", "/logs/close", None),
    "policy": ("POST", "/logs/policy/update", POLICY),
    "no policy": ("PUT", "/logs/policy/close", None),
}
every_call = pytest.mark.parametrize("name", CALLS)
every_storage_call = pytest.mark.parametrize("name", ["open", "settings"])


def send(
    css: Css, cluster_id: str, name: str, changes: Mapping[str, object] | None = None
) -> requests.Response:
    """Make one of CALLS, with some of its body replaced (None: left out)."""
    method, path, body = CALLS[name]
    if changes is not None:
        body = {k: v for k, v in {**(body or {}), **changes}.items() if v is not None}
    return css.call(method, f"/{cluster_id}{path}", json=body)


def refusal(answer: requests.Response) -> tuple[int, str]:
    assert answer.json()["externalMessage"].startswith(answer.json()["errCode"])
    return answer.status_code, answer.json()["errCode"]


def settings(css: Css, cluster_id: str) -> dict[str, object]:
    found = css.call("GET", f"/{cluster_id}/logs/settings").json()["logConfiguration"]
    found.pop("updateAt")
    return found


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"agency": None}, "CSS.5130"),
        ({"agency": ""}, "CSS.5130"),
        ({"agency": "no spaces"}, "CSS.5130"),
        ({"agency": "umlaut-ä"}, "CSS.5130"),
        ({"agency": 7}, "CSS.5130"),
        ({"logBucket": None}, "CSS.0048"),
        ({"logBucket": "No_Such_Name"}, "CSS.0048"),
        ({"logBasePath": None}, "CSS.0001"),
        ({"logBasePath": "p" * 513}, "CSS.0001"),
        *(({"logBasePath": f"css{bad}log"}, "CSS.0001") for bad in "\\:*?\"<>|'{}"),
        *(({"logBasePath": bad}, "CSS.0001") for bad in ("/css", ".css", "css.", "a///b", "a...b")),
        ({"auto_enable": "yes"}, "CSS.0001"),
        ({"auto_enable": True}, "CSS.5018"),
        ({"auto_enable": True, "period": "05:30 GMT+02:00"}, "CSS.5018"),
    ],
    ids=str,
)
@every_storage_call
def test_a_parameter_that_breaks_its_rule_is_refused_and_changes_nothing(
    control: SimulatorControl, css: Css, name: str, changes: dict[str, object], code: str
) -> None:
    cluster_id = control.add_cluster("shop", log_backup=name == "settings")
    before = settings(css, cluster_id)
    assert refusal(send(css, cluster_id, name, changes)) == (400, code)
    assert settings(css, cluster_id) == before


@pytest.mark.parametrize("path", ["css/log", "logs.2026/eu", "a//b", "a..b", "p" * 512])
def test_a_path_by_the_manuals_rules_is_taken(
    control: SimulatorControl, css: Css, path: str
) -> None:
    cluster_id = control.add_cluster("shop", log_backup=None)
    assert send(css, cluster_id, "open", {"logBasePath": path}).status_code == 200
    assert settings(css, cluster_id)["basePath"] == path


@pytest.mark.parametrize(
    "period",
    [None, "", "05:30 GMT+02:00", "24:00 GMT+02:00", "5:00 GMT+02:00", "05:00", "05:00 UTC", 5],
)
def test_a_period_that_is_none_is_refused(
    control: SimulatorControl, css: Css, period: object
) -> None:
    cluster_id = control.add_cluster("shop")
    assert refusal(send(css, cluster_id, "policy", {"period": period})) == (400, "CSS.5018")


@pytest.mark.parametrize(
    ("log_backup", "name"),
    [(True, "open"), (False, "settings"), (False, "close"), (False, "policy"),
     (False, "no policy"), (None, "close")],
)  # fmt: skip
def test_a_call_that_does_not_fit_the_switch_is_415_css_0004(
    control: SimulatorControl, css: Css, log_backup: bool | None, name: str
) -> None:
    cluster_id = control.add_cluster("shop", log_backup=log_backup)
    assert refusal(send(css, cluster_id, name)) == (415, "CSS.0004")


@pytest.mark.parametrize(
    ("state", "status", "code"),
    [({"actions": ["GROWING"]}, 409, "CSS.0011"), ({"status": "100"}, 400, "CSS.5090")],
    ids=["busy", "being created"],
)
@every_call
def test_a_cluster_that_is_not_free_is_left_as_it_is(
    control: SimulatorControl,
    css: Css,
    name: str,
    state: dict[str, object],
    status: int,
    code: str,
) -> None:
    cluster_id = control.add_cluster("shop", log_backup=name != "open", **state)
    before = settings(css, cluster_id)
    assert refusal(send(css, cluster_id, name)) == (status, code)
    assert settings(css, cluster_id) == before


@every_call
def test_a_cluster_that_is_missing_is_403_css_0015(css: Css, name: str) -> None:
    assert refusal(send(css, "no-such-cluster", name)) == (403, "CSS.0015")


@pytest.mark.parametrize("action", ["", "base_log_collect"])
def test_log_backup_is_the_default_of_action(
    control: SimulatorControl, css: Css, action: str
) -> None:
    cluster_id = control.add_cluster("shop", log_backup=None)
    query = f"?action={action}" if action else ""
    opened = css.call("POST", f"/{cluster_id}/logs/open{query}", json=STORAGE)
    assert opened.status_code == 200
    assert settings(css, cluster_id)["logSwitch"] is True
    unknown = css.call("PUT", f"/{cluster_id}/logs/close?action=everything")
    assert refusal(unknown) == (400, "CSS.0001")


def test_changed_settings_without_auto_enable_end_the_automatic_policy(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    send(css, cluster_id, "policy")
    assert settings(css, cluster_id)["autoEnable"] is True
    send(css, cluster_id, "settings")
    assert settings(css, cluster_id)["autoEnable"] is False


# --- Searching -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"instance_name": "no-such-node"},
        {"instance_name": None},
        {"log_type": "gc"},
        {"log_type": None},
        {"level": "TRACE"},
        {"level": "WARN|TRACE"},
        {"log_type": "deprecation", "level": "WARN"},
        {"limit": 0},
        {"limit": 10_001},
        {"limit": "5"},
        {"keyword": "k" * 65},
        {"keyword": "<script>"},
        {"time_index": "2025-08-25 01:07:19"},
    ],
    ids=str,
)
def test_a_search_that_breaks_a_rule_is_refused(
    control: SimulatorControl, css: Css, changes: dict[str, object]
) -> None:
    cluster_id = control.add_cluster("shop")
    node = css.call("GET", f"/{cluster_id}").json()["instances"][0]["name"]
    body = {"instance_name": node, "log_type": "instance", **changes}
    asked = {name: value for name, value in body.items() if value is not None}
    answer = css.call("POST", f"/{cluster_id}/logs/search", json=asked)
    assert refusal(answer) == (400, "CSS.0001")


@pytest.mark.parametrize("level", ["ALL", "DEBUG|INFO|WARN|ERROR"])
def test_deprecation_logs_come_with_all_levels(
    control: SimulatorControl, css: Css, level: str
) -> None:
    cluster_id = control.add_cluster("shop")
    node = css.call("GET", f"/{cluster_id}").json()["instances"][0]["name"]
    body = {"instance_name": node, "log_type": "deprecation", "level": level, "limit": 3}
    found = css.call("POST", f"/{cluster_id}/logs/search", json=body).json()
    assert (found["type"], len(found["logList"])) == ("deprecation", 3)


def test_a_search_looks_before_the_time_and_for_the_keyword(
    control: SimulatorControl, css: Css
) -> None:
    cluster_id = control.add_cluster("shop")
    node = css.call("GET", f"/{cluster_id}").json()["instances"][0]["name"]
    body = {
        "instance_name": node,
        "log_type": "instance",
        "time_index": "2025-08-25T01:07:19,082",
        "keyword": "version 9990",
    }
    [line] = css.call("POST", f"/{cluster_id}/logs/search", json=body).json()["logList"]
    assert line["date"] <= "2025-08-25T01:07:19,082"
    assert "version 9990" in line["content"]

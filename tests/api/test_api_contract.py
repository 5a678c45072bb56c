"""The API does what its OpenAPI description says: schemathesis, with a token of each role."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from dashboard.accounts.access import Role
from dashboard.accounts.models import User
from dashboard.tokens.models import Scope
from tests.access.conftest import OTHER, OWN, everything_in
from tests.grants import give
from tests.tokens_made import token_of

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
# Of each operation. `make api-contract` tries more.
EXAMPLES = os.environ.get("API_CONTRACT_EXAMPLES", "4")
SECONDS = float(os.environ.get("API_CONTRACT_SECONDS", "600"))  # then it hangs
# Filters are also checked against each other and the database, so a value that fits its schema can
# be refused; and which objects exist changes while they are archived and revoked.
LEFT_OUT = "positive_data_acceptance,use_after_free,ensure_resource_availability"


NEED_A_CLOUD = ("read_log_settings", "set_log_settings", "set_log_policy")


@pytest.fixture
def no_cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {}\n")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))


@pytest.mark.e2e
@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize("role", list(Role))
def test_every_answer_is_as_described(
    role: Role, live_server: Any, redis_url: str, tmp_path: Path, no_cloud: None, settings: Any
) -> None:
    settings.API_TOKEN_FAILURES = 1_000_000  # it also tries wrong tokens
    everything_in(OWN)
    everything_in(OTHER)
    token = token_of(give(User.objects.create_user(role), role), Scope.MANAGE)
    phases = "examples,coverage,fuzzing" if role is Role.ADMIN else "examples,fuzzing"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(SCHEMA)),
            *("--url", live_server.url, "--header", f"Authorization: Bearer {token}"),
            *("--phases", phases, "--exclude-checks", LEFT_OUT),
            # its own token would not survive
            *("--exclude-operation-id", "revoke_own_token"),
            # there is no cloud, so they answer 502, which schemathesis takes for an error of ours
            *(part for name in NEED_A_CLOUD for part in ("--exclude-operation-id", name)),
            *("--max-examples", EXAMPLES, "--seed", "1"),
            *("--generation-deterministic", "--no-shrink", "--continue-on-failure"),
            *("--warnings", "off", "--no-color", "--output-truncate", "true"),
        ],
        cwd=tmp_path,
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "No issues found" in done.stdout, done.stdout[-3000:]
    print(done.stdout[-2000:])

"""Each call of a run is kept with the request as it was sent, and without a secret."""

from __future__ import annotations

from django.core import serializers

from backups.css_api.session import known_secrets
from backups.models import ApiCall, BackupRun
from backups.services.cloud import client_for
from backups.services.runs import following, sending
from backups.services.runs.call_log import CollectLog
from simulator import server
from simulator.client import SimulatorControl
from tests.services.conftest import MakeRun


def test_every_call_of_a_run_has_its_address_and_headers(
    make_run: MakeRun, cloud_server: server.Simulator
) -> None:
    run = make_run()
    sending.send_run(run.pk)
    following.follow_run(run.pk)
    calls = list(run.api_calls.all())
    assert [call.purpose for call in calls] == ["baseline", "collect", "records"]
    for call in calls:
        assert call.url == f"{cloud_server.url}{call.path}"
        assert call.request_headers["X-Auth-Token"] == "[redacted]"
        assert call.request_headers["Accept"] == "application/json"
        assert call.request_body == ""


def test_no_column_of_a_call_holds_the_password_or_a_token(
    make_run: MakeRun, cloud: SimulatorControl
) -> None:
    run = make_run()
    sending.send_run(run.pk)
    secrets = [secret for secret in known_secrets() if len(secret) > 3]
    assert len(secrets) > 1, "the password and a token"
    kept = serializers.serialize("json", [*ApiCall.objects.all(), *BackupRun.objects.all()])
    assert "logs/collect" in kept
    assert not [secret for secret in secrets if secret in kept]


def test_the_request_is_there_before_its_answer(
    make_run: MakeRun, cloud_server: server.Simulator
) -> None:
    """A worker that dies while it waits leaves what it had sent."""
    run = sending.claim(make_run().pk)
    assert run is not None
    seen: list[tuple[str, object]] = []

    class Dies(CollectLog):
        def after(self, exchange: object) -> None:
            call = ApiCall.objects.get(run=run, purpose="collect")
            seen.append((call.url, call.finished_at))

    client_for(run, Dies(run)).collect_logs(run.cluster_cloud_id)
    [(url, finished_at)] = seen
    assert url.startswith(cloud_server.url)
    assert url.endswith("/logs/collect")
    assert finished_at is None

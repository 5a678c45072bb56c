"""The vendor's own client against the simulator, and its models beside our parsers.

Nobody here wrote that client, so what it reads of the simulator's answers is a second opinion on
both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import huaweicloudsdkcss.v1 as vendor
import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcss.v1 import model

from backups.css_api import parse
from simulator.client import SimulatorControl
from simulator.server import Simulator

STORAGE = {"agency": "css_obs_agency", "log_base_path": "css/log", "log_bucket": "my-bucket"}


def sign_in(simulator: Simulator, *, temporary: bool = False) -> Any:
    """The vendor's client, which signs its requests with an access key."""
    credentials = simulator.identity.credentials
    key = credentials.temporary_key if temporary else credentials.key
    signs = BasicCredentials(key.access, key.secret, simulator.cloud.first_project.id)
    if temporary:
        signs.with_security_token(key.security_token)
    config = HttpConfig.get_default_config()
    config.timeout = (5, 5)
    made = vendor.CssClient.new_builder().with_credentials(signs).with_http_config(config)
    return made.with_endpoints([simulator.url]).build()


def refusal(call: Callable[[], Any]) -> int:
    with pytest.raises(ClientRequestException) as caught:
        call()
    return int(caught.value.status_code)


@pytest.mark.parametrize("temporary", [False, True])
def test_every_log_call_of_the_vendors_client_is_answered(
    simulator: Simulator, control: SimulatorControl, temporary: bool
) -> None:
    client = sign_in(simulator, temporary=temporary)
    cluster = control.add_cluster("orders", log_backup=None)
    clusters = client.list_clusters_details(model.ListClustersDetailsRequest()).clusters
    assert [each.name for each in clusters] == ["orders"]
    detail = client.show_cluster_detail(model.ShowClusterDetailRequest(cluster_id=cluster))
    node = detail.instances[0].name

    opened = model.StartLogsReq(**STORAGE)
    client.start_logs(model.StartLogsRequest(cluster, action="base_log_collect", body=opened))
    changed = model.UpdateLogSettingReq(**STORAGE | {"log_bucket": "another-bucket"})
    client.update_log_setting(model.UpdateLogSettingRequest(cluster_id=cluster, body=changed))
    policy = model.StartLogAutoBackupPolicyReq(period="03:00 GMT+01:00")
    client.start_log_auto_backup_policy(
        model.StartLogAutoBackupPolicyRequest(cluster_id=cluster, body=policy)
    )
    shown = client.show_get_log_setting(model.ShowGetLogSettingRequest(cluster_id=cluster))
    found = shown.log_configuration
    assert (found.obs_bucket, found.log_switch, found.auto_enable, found.period) == (
        "another-bucket", True, True, "03:00 GMT+01:00",
    )  # fmt: skip
    client.stop_log_auto_backup_policy(model.StopLogAutoBackupPolicyRequest(cluster_id=cluster))

    client.create_log_backup(model.CreateLogBackupRequest(cluster_id=cluster))
    jobs = client.list_logs_job(model.ListLogsJobRequest(cluster_id=cluster))
    assert [(job.status, job.job_types) for job in jobs.cluster_log_record] == [
        ("RUNNING", "Manual")
    ]
    again = model.CreateLogBackupRequest(cluster_id=cluster)
    assert refusal(lambda: client.create_log_backup(again)) == 409

    asked = model.GetLogBackupReq(instance_name=node, log_type="instance", level="ALL", limit=3)
    lines = client.show_log_backup(model.ShowLogBackupRequest(cluster_id=cluster, body=asked))
    assert (len(lines.log_list), lines.type) == (3, "instance")
    second = model.ListLogsJobRequest(cluster_id=cluster, offset=2, limit=1)
    assert client.list_logs_job(second).cluster_log_record == []

    target = model.StartTargetClusterConnectivityTestReq(target_cluster_id=cluster)
    client.start_target_cluster_connectivity_test(
        model.StartTargetClusterConnectivityTestRequest(cluster_id=cluster, body=target)
    )
    collection = model.StartLogsReq(index_prefix="logs", keep_days=7, target_cluster_id=cluster)
    client.start_logs(
        model.StartLogsRequest(cluster, action="real_time_log_collect", body=collection)
    )
    client.stop_logs(model.StopLogsRequest(cluster_id=cluster))
    assert refusal(lambda: client.create_log_backup(again)) == 412


def test_a_wrong_secret_key_is_refused(simulator: Simulator) -> None:
    project = simulator.cloud.first_project.id
    signs = BasicCredentials(simulator.identity.credentials.key.access, "w" * 40, project)
    made = vendor.CssClient.new_builder().with_credentials(signs)
    client = made.with_endpoints([simulator.url]).build()
    asked = model.ListClustersDetailsRequest()
    assert refusal(lambda: client.list_clusters_details(asked)) == 401


# --- Fields that the vendor knows ----------------------------------------------------------------

# What our types leave out of the vendor's models, on purpose: no page or decision needs it.
DROPPED = {
    model.ClusterList: {
        "actionProgress", "authorityEnable", "backupAvailable", "bandwidthResourceId",
        "bandwidthSize", "cmkId", "currentSubnetIds", "desc", "diskEncrypted", "elbWhiteList",
        "enterpriseProjectId", "httpsEnable", "ipv6Endpoint", "period", "publicIp",
        "publicKibanaResp", "securityGroupId", "snapshotPolicy", "subnetId", "updated", "vpcId",
    },
    model.ClusterListInstances: {
        "azCode", "ip", "resourceId", "specCode", "subnetId", "volume",
    },
    model.ClusterListDatastore: {"isEosCluster", "subVersion", "supportSecuritymode"},
    model.ClusterListFailedReasons: set(),
    model.ClusterListTags: set(),
    model.LogConfiguration: {"clusterId", "id"},
    model.ClusterLogRecord: {"clusterId"},
    model.LogList: set(),
    model.ShowLogBackupResponse: {"type"},
    model.ListLogsJobResponse: set(),
}  # fmt: skip


def read_fields(
    kind: type, parser: Callable[[object], object], wrap: Callable[[Any], Any]
) -> set[str]:
    """The vendor's fields of an object that change what a parser returns when they change."""
    whole = sample(kind)
    before = parser(wrap(whole))
    return {name for name in whole if parser(wrap({**whole, name: other(whole[name])})) != before}


SAMPLES: dict[str, object] = {
    "id": "a-1", "name": "n", "status": "200", "actions": ["GROWING"],
    "created": "2023-10-09T02:07:13",
    "endpoint": "192.0.2.1:9200", "createAt": 1656042837000, "finishedAt": 1656042838000,
    "jobId": "a" * 32, "jobTypes": "Manual", "autoEnable": True, "logSwitch": True,
    "updateAt": 1656042837000, "completed": True, "totalSize": 1,
    "datastore": {"type": "opensearch", "version": "2.19.0"},
    "instances": [{"id": "i", "name": "n", "type": "ess", "status": "200"}],
    "tags": [{"key": "k", "value": "v"}],
    "failedReason": {"errorCode": "CSS.6000", "errorMsg": "m"},
    "logList": [{"content": "c", "date": "d", "level": "INFO"}],
    "clusterLogRecord": [{"id": "r", "jobId": "a" * 32}],
}  # fmt: skip


def sample(kind: Any) -> dict[str, object]:
    """An object with every field of a model."""
    return {name: SAMPLES.get(name, "text") for name in kind.attribute_map.values()}


def other(value: object) -> object:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1000
    if isinstance(value, list):
        return []
    if isinstance(value, dict):
        return {name: f"{each}x" for name, each in value.items()}
    return "2024-01-01T00:00:00" if str(value)[:2] == "20" and "T" in str(value) else f"{value}x"


CASES: dict[type, tuple[Callable[[object], object], Callable[[Any], Any]]] = {
    model.ClusterList: (parse.clusters, lambda each: {"clusters": [each]}),
    model.ClusterListInstances: (
        parse.cluster, lambda each: {"id": "c", "instances": [each]},
    ),
    model.ClusterListDatastore: (parse.cluster, lambda each: {"id": "c", "datastore": each}),
    model.ClusterListFailedReasons: (
        parse.cluster, lambda each: {"id": "c", "failedReason": each},
    ),
    model.ClusterListTags: (parse.cluster, lambda each: {"id": "c", "tags": [each]}),
    model.LogConfiguration: (parse.log_settings, lambda each: {"logConfiguration": each}),
    model.ClusterLogRecord: (parse.log_records, lambda each: {"clusterLogRecord": [each]}),
    model.LogList: (parse.log_lines, lambda each: {"logList": [each]}),
    model.ShowLogBackupResponse: (parse.log_lines, lambda each: each),
    model.ListLogsJobResponse: (parse.log_records, lambda each: each),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_every_field_that_the_vendor_knows_is_read_or_listed_as_dropped(kind: Any) -> None:
    parser, wrap = CASES[kind]
    known = set(kind.attribute_map.values())
    assert known - read_fields(kind, parser, wrap) == DROPPED[kind]

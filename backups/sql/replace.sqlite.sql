-- SQLite's REPLACE and UPDATE OR REPLACE delete the rows whose keys they take, without running
-- DELETE triggers. These triggers refuse a key that another row has; without REPLACE, the
-- constraint would refuse it a moment later. PostgreSQL needs none of them.

CREATE TRIGGER backups_run_taken BEFORE INSERT ON backups_backuprun FOR EACH ROW
WHEN
EXISTS (SELECT 1 FROM backups_backuprun WHERE id = NEW.id)
OR EXISTS (
    SELECT 1 FROM backups_backuprun
    WHERE project_id_in_cloud = NEW.project_id_in_cloud
    AND cluster_cloud_id = NEW.cluster_cloud_id
    AND job_id = NEW.job_id
)
OR EXISTS (
    SELECT 1 FROM backups_backuprun
    WHERE project_id_in_cloud = NEW.project_id_in_cloud
    AND cluster_cloud_id = NEW.cluster_cloud_id
    AND record_id = NEW.record_id
    AND record_id <> ''
)
OR EXISTS (SELECT 1 FROM backups_backuprun WHERE idempotency_key = NEW.idempotency_key)
OR NEW.state IN ('accepted', 'queued', 'sending', 'unknown')
AND EXISTS (
    SELECT 1 FROM backups_backuprun
    WHERE cluster_id = NEW.cluster_id AND state IN ('accepted', 'queued', 'sending', 'unknown')
)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_backuprun is taken');
END;

CREATE TRIGGER backups_run_takes BEFORE UPDATE ON backups_backuprun FOR EACH ROW
WHEN
NEW.id IS NOT OLD.id
AND EXISTS (SELECT 1 FROM backups_backuprun WHERE id = NEW.id)
OR (
    NEW.job_id IS NOT OLD.job_id
    OR NEW.record_id IS NOT OLD.record_id
    OR NEW.cluster_cloud_id IS NOT OLD.cluster_cloud_id
    OR NEW.project_id_in_cloud IS NOT OLD.project_id_in_cloud
)
AND (
    EXISTS (
        SELECT 1 FROM backups_backuprun
        WHERE project_id_in_cloud = NEW.project_id_in_cloud
        AND cluster_cloud_id = NEW.cluster_cloud_id
        AND job_id = NEW.job_id
        AND id <> OLD.id
    )
    OR EXISTS (
        SELECT 1 FROM backups_backuprun
        WHERE project_id_in_cloud = NEW.project_id_in_cloud
        AND cluster_cloud_id = NEW.cluster_cloud_id
        AND record_id = NEW.record_id
        AND record_id <> ''
        AND id <> OLD.id
    )
)
OR NEW.idempotency_key IS NOT OLD.idempotency_key
AND EXISTS (SELECT 1 FROM backups_backuprun WHERE idempotency_key = NEW.idempotency_key)
OR (
    NEW.cluster_id IS NOT OLD.cluster_id
    OR OLD.state NOT IN ('accepted', 'queued', 'sending', 'unknown')
)
AND NEW.state IN ('accepted', 'queued', 'sending', 'unknown')
AND EXISTS (
    SELECT 1 FROM backups_backuprun
    WHERE cluster_id = NEW.cluster_id
    AND state IN ('accepted', 'queued', 'sending', 'unknown')
    AND id <> OLD.id
)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_backuprun is taken');
END;

CREATE TRIGGER backups_event_taken BEFORE INSERT ON backups_runevent FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM backups_runevent WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_runevent is taken');
END;

CREATE TRIGGER backups_call_taken BEFORE INSERT ON backups_apicall FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM backups_apicall WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_apicall is taken');
END;

CREATE TRIGGER backups_call_takes BEFORE UPDATE ON backups_apicall FOR EACH ROW
WHEN NEW.id IS NOT OLD.id
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_apicall is taken');
END;

CREATE TRIGGER backups_post_taken BEFORE INSERT ON backups_post FOR EACH ROW
WHEN
EXISTS (SELECT 1 FROM backups_post WHERE id = NEW.id)
OR EXISTS (SELECT 1 FROM backups_post WHERE run_id = NEW.run_id AND attempt = NEW.attempt)
OR NEW.active
AND EXISTS (
    SELECT 1 FROM backups_post
    WHERE project_id_in_cloud = NEW.project_id_in_cloud
    AND cluster_cloud_id = NEW.cluster_cloud_id
    AND active
)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_post is taken');
END;

CREATE TRIGGER backups_post_takes BEFORE UPDATE ON backups_post FOR EACH ROW
WHEN
NEW.active
AND NOT OLD.active
AND EXISTS (
    SELECT 1 FROM backups_post
    WHERE project_id_in_cloud = NEW.project_id_in_cloud
    AND cluster_cloud_id = NEW.cluster_cloud_id
    AND active
    AND id <> OLD.id
)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_post is taken');
END;

CREATE TRIGGER backups_retention_taken BEFORE INSERT ON backups_retentionrun FOR EACH ROW
WHEN
EXISTS (SELECT 1 FROM backups_retentionrun WHERE id = NEW.id)
OR EXISTS (SELECT 1 FROM backups_retentionrun WHERE told = NEW.told)
OR EXISTS (
    SELECT 1 FROM backups_retentionrun WHERE kind = NEW.kind AND finished_at IS NULL
)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_retentionrun is taken');
END;

CREATE TRIGGER backups_seal_taken BEFORE INSERT ON backups_run_seal FOR EACH ROW
WHEN
EXISTS (SELECT 1 FROM backups_run_seal WHERE id = NEW.id)
OR EXISTS (SELECT 1 FROM backups_run_seal WHERE run_id = NEW.run_id AND kind = NEW.kind)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_run_seal is taken');
END;

CREATE TRIGGER backups_batch_taken BEFORE INSERT ON backups_seal_batch FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM backups_seal_batch WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_seal_batch is taken');
END;

CREATE TRIGGER backups_files_taken BEFORE INSERT ON backups_file_check FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM backups_file_check WHERE id = NEW.id OR run_id = NEW.run_id)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_file_check is taken');
END;

CREATE TRIGGER backups_file_taken BEFORE INSERT ON backups_seen_file FOR EACH ROW
WHEN EXISTS (SELECT 1 FROM backups_seen_file WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: a key of backups_seen_file is taken');
END;

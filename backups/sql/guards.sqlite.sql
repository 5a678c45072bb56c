-- Triggers that keep the history of ended runs, for SQLite.
-- guards.postgresql.sql holds the same rules; change both files together.
--
-- "IS NOT TRUE": a condition that evaluates to NULL refuses the change as well.
-- backups_retentionrun.told is the sequence of the audit event that announces the retention run.

-- A run that has ended stays as it is, with three exceptions:
-- 1. foreign keys become NULL when accounts or other runs are deleted;
-- 2. an open retention run for personal data empties name and address;
-- 3. a run that ended without its job is given this job, once.
CREATE TRIGGER backups_run_stays BEFORE UPDATE ON backups_backuprun FOR EACH ROW
WHEN
OLD.state IN ('cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified')
AND (
    NEW.id IS OLD.id
    AND NEW.cluster_cloud_id IS OLD.cluster_cloud_id
    AND NEW.cluster_name IS OLD.cluster_name
    AND NEW.cloud IS OLD.cloud
    AND NEW.region IS OLD.region
    AND NEW.project_id_in_cloud IS OLD.project_id_in_cloud
    AND NEW.project_name IS OLD.project_name
    AND NEW."trigger" IS OLD."trigger"
    AND NEW.reason IS OLD.reason
    AND NEW.idempotency_key IS OLD.idempotency_key
    AND NEW.requested_at IS OLD.requested_at
    AND NEW.outcome IS OLD.outcome
    AND NEW.note IS OLD.note
    AND NEW.attempt IS OLD.attempt
    AND NEW.claimed_by IS OLD.claimed_by
    AND NEW.claimed_at IS OLD.claimed_at
    AND NEW.dispatched_at IS OLD.dispatched_at
    AND NEW.not_before IS OLD.not_before
    AND NEW.retry_conflict_until IS OLD.retry_conflict_until
    AND NEW.sent_at IS OLD.sent_at
    AND NEW.answered_at IS OLD.answered_at
    AND NEW.http_status IS OLD.http_status
    AND NEW.error_code IS OLD.error_code
    AND NEW.message IS OLD.message
    AND NEW.request_id IS OLD.request_id
    AND NEW.conflict_holder IS OLD.conflict_holder
    AND NEW.next_check_at IS OLD.next_check_at
    AND NEW.checks IS OLD.checks
    AND NEW.records_readable_at IS OLD.records_readable_at
    AND NEW.finished_at IS OLD.finished_at
    AND NEW.cluster_id IS OLD.cluster_id
    AND NEW.project_id IS OLD.project_id
    AND NEW.settled_by_hand IS OLD.settled_by_hand
    AND NEW.readable_uptime IS OLD.readable_uptime
    AND NEW.step_uptime IS OLD.step_uptime
    -- 1. foreign keys
    AND (NEW.requested_by_id IS OLD.requested_by_id OR NEW.requested_by_id IS NULL)
    AND (NEW.conflict_run_id IS OLD.conflict_run_id OR NEW.conflict_run_id IS NULL)
    AND (
        NEW.state IS OLD.state
        AND NEW.job_id IS OLD.job_id
        AND NEW.record_id IS OLD.record_id
        AND NEW.job_type IS OLD.job_type
        AND NEW.job_created_at IS OLD.job_created_at
        AND NEW.job_finished_at IS OLD.job_finished_at
        AND NEW.log_path IS OLD.log_path
        AND NEW.failed_message IS OLD.failed_message
        AND NEW.evidence IS OLD.evidence
        AND NEW.corrected_from IS OLD.corrected_from
        AND NEW.corrected_by IS OLD.corrected_by
        AND NEW.version IS OLD.version
        AND (
            NEW.requested_by_name = OLD.requested_by_name
            AND NEW.source_ip IS OLD.source_ip
            AND NEW.masked_by IS OLD.masked_by
            -- 2. masking
            OR OLD.masked_by IS NULL
            AND NEW.requested_by_name = ''
            AND NEW.source_ip IS NULL
            AND NEW.requested_by_id IS NULL
            AND EXISTS (
                SELECT 1 FROM backups_retentionrun AS retention
                WHERE retention.finished_at IS NULL
                AND retention.kind = 'personal'
                AND retention.told = NEW.masked_by
                AND OLD.requested_at < retention.cutoff
            )
        )
        -- 3. correction
        OR OLD.state IN ('not_started', 'unverified')
        AND OLD.job_id IS NULL
        AND OLD.corrected_by IS NULL
        AND NEW.state IN ('failed', 'succeeded')
        AND NEW.job_id IS NOT NULL
        AND NEW.corrected_from = OLD.state
        AND EXISTS (
            SELECT 1 FROM audit_event AS correction
            WHERE correction.sequence = NEW.corrected_by
            AND correction.action = 'run_corrected'
            AND correction.target_type = 'backups.backuprun'
            AND correction.target_id = CAST(OLD.id AS TEXT)
        )
        AND NEW.requested_by_name = OLD.requested_by_name
        AND NEW.source_ip IS OLD.source_ip
        AND NEW.masked_by IS OLD.masked_by
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_backuprun refused');
END;

-- A run may be deleted while a retention run of its class is open, if it ended before the cutoff.
CREATE TRIGGER backups_run_delete BEFORE DELETE ON backups_backuprun FOR EACH ROW
WHEN (
    OLD.state IN ('cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified')
    AND EXISTS (
        SELECT 1 FROM backups_retentionrun AS retention
        WHERE retention.finished_at IS NULL
        AND retention.kind = CASE OLD.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
        AND OLD.finished_at < retention.cutoff
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_backuprun refused');
END;

-- An event of a run stays, except that the actor is emptied once the run is masked.
CREATE TRIGGER backups_event_stays BEFORE UPDATE ON backups_runevent FOR EACH ROW
WHEN (
    NEW.id IS OLD.id
    AND NEW."at" IS OLD."at"
    AND NEW.from_state IS OLD.from_state
    AND NEW.to_state IS OLD.to_state
    AND NEW.outcome IS OLD.outcome
    AND NEW.note IS OLD.note
    AND NEW.run_id IS OLD.run_id
    AND (
        NEW.actor = OLD.actor
        OR NEW.actor = ''
        AND EXISTS (
            SELECT 1 FROM backups_backuprun AS run
            WHERE run.id = OLD.run_id AND run.masked_by IS NOT NULL
        )
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_runevent refused');
END;

-- What belongs to a run may be deleted when the run may be.
CREATE TRIGGER backups_event_delete BEFORE DELETE ON backups_runevent FOR EACH ROW
WHEN (
    EXISTS (
        SELECT 1 FROM backups_backuprun AS run
        JOIN backups_retentionrun AS retention
        ON retention.kind = CASE run.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
        WHERE run.id = OLD.run_id
        AND run.state IN (
            'cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified'
        )
        AND retention.finished_at IS NULL
        AND run.finished_at < retention.cutoff
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_runevent refused');
END;

-- A finished call stays. Until its answer is stored, a call is written twice.
CREATE TRIGGER backups_call_stays BEFORE UPDATE ON backups_apicall FOR EACH ROW
WHEN
OLD.finished_at IS NOT NULL
AND (
    NEW.id IS OLD.id
    AND NEW.attempt IS OLD.attempt
    AND NEW.purpose IS OLD.purpose
    AND NEW.method IS OLD.method
    AND NEW.path IS OLD.path
    AND NEW.started_at IS OLD.started_at
    AND NEW.finished_at IS OLD.finished_at
    AND NEW.duration_ms IS OLD.duration_ms
    AND NEW.status IS OLD.status
    AND NEW.request_id IS OLD.request_id
    AND NEW.error_code IS OLD.error_code
    AND NEW.message IS OLD.message
    AND NEW.transport_error IS OLD.transport_error
    AND NEW.sent IS OLD.sent
    AND NEW.retry_after IS OLD.retry_after
    AND NEW.body_kind IS OLD.body_kind
    AND NEW.body_size IS OLD.body_size
    AND NEW.excerpt IS OLD.excerpt
    AND NEW.run_id IS OLD.run_id
    AND NEW.url IS OLD.url
    AND NEW.request_headers IS OLD.request_headers
    AND NEW.request_body IS OLD.request_body
    AND NEW.answer_date IS OLD.answer_date
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_apicall refused');
END;

CREATE TRIGGER backups_call_delete BEFORE DELETE ON backups_apicall FOR EACH ROW
WHEN (
    EXISTS (
        SELECT 1 FROM backups_backuprun AS run
        JOIN backups_retentionrun AS retention
        ON retention.kind = CASE run.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
        WHERE run.id = OLD.run_id
        AND run.state IN (
            'cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified'
        )
        AND retention.finished_at IS NULL
        AND run.finished_at < retention.cutoff
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_apicall refused');
END;

-- The result of a POST with the end of its window, and the job that it made, are each written once.
CREATE TRIGGER backups_post_stays BEFORE UPDATE ON backups_post FOR EACH ROW
WHEN (
    NEW.id IS OLD.id
    AND NEW.attempt IS OLD.attempt
    AND NEW.project_id_in_cloud IS OLD.project_id_in_cloud
    AND NEW.cluster_cloud_id IS OLD.cluster_cloud_id
    AND NEW.baseline IS OLD.baseline
    AND NEW.date_before IS OLD.date_before
    AND NEW.run_id IS OLD.run_id
    AND (OLD.job_id = '' OR NEW.job_id = OLD.job_id)
    AND (
        OLD.result = 'open'
        OR NEW.result = OLD.result
        AND NEW.status IS OLD.status
        AND NEW.answered_at IS OLD.answered_at
        AND NEW.date_after IS OLD.date_after
        AND NEW.date_closed IS OLD.date_closed
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_post refused');
END;

CREATE TRIGGER backups_post_delete BEFORE DELETE ON backups_post FOR EACH ROW
WHEN (
    EXISTS (
        SELECT 1 FROM backups_backuprun AS run
        JOIN backups_retentionrun AS retention
        ON retention.kind = CASE run.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
        WHERE run.id = OLD.run_id
        AND run.state IN (
            'cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified'
        )
        AND retention.finished_at IS NULL
        AND run.finished_at < retention.cutoff
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_post refused');
END;

-- A retention run needs an audit event of its class and cutoff that no earlier one has used.
-- A cutoff is a whole second, so the text in the event can be compared with the column.
CREATE TRIGGER backups_retention_announced BEFORE INSERT ON backups_retentionrun FOR EACH ROW
WHEN (
    NEW.finished_at IS NULL
    AND NEW.done = 0
    AND NEW.told > COALESCE((SELECT MAX(told) FROM backups_retentionrun), 0)
    AND EXISTS (
        SELECT 1 FROM audit_event AS event
        WHERE event.sequence = NEW.told
        AND event.action
        = CASE NEW.kind WHEN 'personal' THEN 'personal_data_masked' ELSE 'retention_run' END
        AND json_extract(event.details, '$.class') = NEW.kind
        AND substr(replace(json_extract(event.details, '$.before'), 'T', ' '), 1, 19)
        = substr(NEW.cutoff, 1, 19)
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: INSERT of backups_retentionrun refused');
END;

-- An open retention run may only progress.
CREATE TRIGGER backups_retention_stays BEFORE UPDATE ON backups_retentionrun FOR EACH ROW
WHEN (
    OLD.finished_at IS NULL
    AND NEW.id IS OLD.id
    AND NEW.kind IS OLD.kind
    AND NEW.cutoff IS OLD.cutoff
    AND NEW.told IS OLD.told
    AND NEW.automatic IS OLD.automatic
    AND NEW.started_at IS OLD.started_at
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_retentionrun refused');
END;

CREATE TRIGGER backups_retention_delete BEFORE DELETE ON backups_retentionrun FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_retentionrun refused');
END;

-- A seal is inserted pending.
CREATE TRIGGER backups_seal_pending BEFORE INSERT ON backups_run_seal FOR EACH ROW
WHEN (NEW.batch_id IS NULL AND NEW.digest = '' AND NEW.covers = '') IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: INSERT of backups_run_seal refused');
END;

-- A pending seal becomes a leaf of a batch, once.
CREATE TRIGGER backups_seal_stays BEFORE UPDATE ON backups_run_seal FOR EACH ROW
WHEN (
    OLD.batch_id IS NULL
    AND NEW.batch_id IS NOT NULL
    AND NEW.id IS OLD.id
    AND NEW.run_id IS OLD.run_id
    AND NEW.kind IS OLD.kind
    AND NEW.made_at IS OLD.made_at
    AND EXISTS (
        SELECT 1 FROM backups_seal_batch AS batch
        WHERE batch.id = NEW.batch_id AND batch.event IS NULL
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_run_seal refused');
END;

CREATE TRIGGER backups_seal_delete BEFORE DELETE ON backups_run_seal FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_run_seal refused');
END;

-- A batch is given its event, once.
CREATE TRIGGER backups_batch_stays BEFORE UPDATE ON backups_seal_batch FOR EACH ROW
WHEN (
    OLD.event IS NULL
    AND NEW.id IS OLD.id
    AND NEW.root IS OLD.root
    AND NEW.runs IS OLD.runs
    AND EXISTS (
        SELECT 1 FROM audit_event AS sealing
        WHERE sealing.sequence = NEW.event
        AND sealing.action = 'runs_sealed'
        AND json_extract(sealing.details, '$.root') = OLD.root
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_seal_batch refused');
END;

CREATE TRIGGER backups_batch_delete BEFORE DELETE ON backups_seal_batch FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_seal_batch refused');
END;

CREATE TRIGGER backups_files_delete BEFORE DELETE ON backups_file_check FOR EACH ROW
WHEN (
    EXISTS (
        SELECT 1 FROM backups_backuprun AS run
        JOIN backups_retentionrun AS retention
        ON retention.kind = CASE run.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
        WHERE run.id = OLD.run_id
        AND run.state IN (
            'cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified'
        )
        AND retention.finished_at IS NULL
        AND run.finished_at < retention.cutoff
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_file_check refused');
END;

CREATE TRIGGER backups_file_delete BEFORE DELETE ON backups_seen_file FOR EACH ROW
WHEN (
    EXISTS (
        SELECT 1 FROM backups_backuprun AS run
        JOIN backups_retentionrun AS retention
        ON retention.kind = CASE run.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
        WHERE run.id = OLD.run_id
        AND run.state IN (
            'cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified'
        )
        AND retention.finished_at IS NULL
        AND run.finished_at < retention.cutoff
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: DELETE of backups_seen_file refused');
END;

-- A check of the files in the bucket is inserted pending.
CREATE TRIGGER backups_files_pending BEFORE INSERT ON backups_file_check FOR EACH ROW
WHEN (
    NEW.checked_at IS NULL AND NEW.result = '' AND NEW.digest = '' AND NEW.event IS NULL
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: INSERT of backups_file_check refused');
END;

-- It is concluded once, with the audit event that has its digest.
CREATE TRIGGER backups_files_stay BEFORE UPDATE ON backups_file_check FOR EACH ROW
WHEN (
    OLD.checked_at IS NULL
    AND NEW.id IS OLD.id
    AND NEW.run_id IS OLD.run_id
    AND (
        NEW.checked_at IS NULL AND NEW.result = '' AND NEW.digest = '' AND NEW.event IS NULL
        OR NEW.checked_at IS NOT NULL
        AND NEW.digest <> ''
        AND EXISTS (
            SELECT 1 FROM audit_event AS checking
            WHERE checking.sequence = NEW.event
            AND checking.action = 'run_files_checked'
            AND checking.target_type = 'backups.backuprun'
            AND checking.target_id = CAST(OLD.run_id AS TEXT)
            AND json_extract(checking.details, '$.digest') = NEW.digest
        )
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_file_check refused');
END;

-- Files are added while their check is pending, and stay.
CREATE TRIGGER backups_file_pending BEFORE INSERT ON backups_seen_file FOR EACH ROW
WHEN (
    EXISTS (
        SELECT 1 FROM backups_file_check AS pending
        WHERE pending.run_id = NEW.run_id AND pending.checked_at IS NULL
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: INSERT of backups_seen_file refused');
END;

CREATE TRIGGER backups_file_stays BEFORE UPDATE ON backups_seen_file FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: UPDATE of backups_seen_file refused');
END;

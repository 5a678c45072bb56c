-- Triggers that keep the history of ended runs, for PostgreSQL.
-- guards.sqlite.sql holds the same rules; change both files together.
--
-- {schema} is the schema of the tables. pg_temp stands last: if it is not named, PostgreSQL
-- searches it first, and anybody's temporary table of the same name would be asked instead.
-- "IS NOT TRUE": a condition that evaluates to NULL refuses the change as well.
-- No trigger has a WHEN condition: dashboard/db/definitions.py compares definitions as text.
-- backups_retentionrun.told is the sequence of the audit event that announces the retention run.

-- A run that has ended stays as it is, with three exceptions:
-- 1. foreign keys become NULL when accounts or other runs are deleted;
-- 2. an open retention run for personal data empties name and address;
-- 3. a run that ended without its job is given this job, once.
CREATE FUNCTION backups_run_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY[
        'requested_by_id', 'conflict_run_id',
        'requested_by_name', 'source_ip', 'masked_by',
        'state', 'job_id', 'record_id', 'job_type', 'job_created_at', 'job_finished_at', 'log_path',
        'failed_message', 'evidence', 'corrected_from', 'corrected_by', 'version'
    ];
BEGIN
    IF (
        OLD.state IN ('cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified')
    ) IS NOT TRUE THEN
        RETURN NEW;
    END IF;
    IF (
        -- all other columns stay, including those of later migrations
        to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
        -- 1. foreign keys
        AND (
            NEW.requested_by_id IS NOT DISTINCT FROM OLD.requested_by_id
            OR NEW.requested_by_id IS NULL
        )
        AND (
            NEW.conflict_run_id IS NOT DISTINCT FROM OLD.conflict_run_id
            OR NEW.conflict_run_id IS NULL
        )
        AND (
            NEW.state IS NOT DISTINCT FROM OLD.state
            AND NEW.job_id IS NOT DISTINCT FROM OLD.job_id
            AND NEW.record_id IS NOT DISTINCT FROM OLD.record_id
            AND NEW.job_type IS NOT DISTINCT FROM OLD.job_type
            AND NEW.job_created_at IS NOT DISTINCT FROM OLD.job_created_at
            AND NEW.job_finished_at IS NOT DISTINCT FROM OLD.job_finished_at
            AND NEW.log_path IS NOT DISTINCT FROM OLD.log_path
            AND NEW.failed_message IS NOT DISTINCT FROM OLD.failed_message
            AND NEW.evidence IS NOT DISTINCT FROM OLD.evidence
            AND NEW.corrected_from IS NOT DISTINCT FROM OLD.corrected_from
            AND NEW.corrected_by IS NOT DISTINCT FROM OLD.corrected_by
            AND NEW.version IS NOT DISTINCT FROM OLD.version
            AND (
                NEW.requested_by_name = OLD.requested_by_name
                AND NEW.source_ip IS NOT DISTINCT FROM OLD.source_ip
                AND NEW.masked_by IS NOT DISTINCT FROM OLD.masked_by
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
                AND correction.target_id = CAST(OLD.id AS text)
            )
            AND NEW.requested_by_name = OLD.requested_by_name
            AND NEW.source_ip IS NOT DISTINCT FROM OLD.source_ip
            AND NEW.masked_by IS NOT DISTINCT FROM OLD.masked_by
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_run_stays BEFORE UPDATE ON backups_backuprun
FOR EACH ROW EXECUTE FUNCTION backups_run_stays();

-- A run may be deleted while a retention run of its class is open, if it ended before the cutoff.
CREATE FUNCTION backups_run_delete() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
        OLD.state IN ('cancelled', 'failed', 'not_started', 'rejected', 'succeeded', 'unverified')
        AND EXISTS (
            SELECT 1 FROM backups_retentionrun AS retention
            WHERE retention.finished_at IS NULL
            AND retention.kind
            = CASE OLD.state WHEN 'succeeded' THEN 'successes' ELSE 'failures' END
            AND OLD.finished_at < retention.cutoff
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER backups_run_delete BEFORE DELETE ON backups_backuprun
FOR EACH ROW EXECUTE FUNCTION backups_run_delete();

-- An event of a run stays, except that the actor is emptied once the run is masked.
CREATE FUNCTION backups_event_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY['actor'];
BEGIN
    IF (
        to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
        AND (
            NEW.actor = OLD.actor
            OR NEW.actor = ''
            AND EXISTS (
                SELECT 1 FROM backups_backuprun AS run
                WHERE run.id = OLD.run_id AND run.masked_by IS NOT NULL
            )
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_event_stays BEFORE UPDATE ON backups_runevent
FOR EACH ROW EXECUTE FUNCTION backups_event_stays();

-- A finished call stays. Until its answer is stored, a call is written twice.
CREATE FUNCTION backups_call_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (OLD.finished_at IS NULL OR to_jsonb(NEW) = to_jsonb(OLD)) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_call_stays BEFORE UPDATE ON backups_apicall
FOR EACH ROW EXECUTE FUNCTION backups_call_stays();

-- The result of a POST with the end of its window, and the job that it made, are each written once.
CREATE FUNCTION backups_post_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY[
        'sent_at', 'answered_at', 'step_uptime', 'result', 'status', 'date_after', 'date_closed',
        'job_id', 'active'
    ];
BEGIN
    IF (
        to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
        AND (OLD.job_id = '' OR NEW.job_id = OLD.job_id)
        AND (
            OLD.result = 'open'
            OR NEW.result = OLD.result
            AND NEW.status IS NOT DISTINCT FROM OLD.status
            AND NEW.answered_at IS NOT DISTINCT FROM OLD.answered_at
            AND NEW.date_after IS NOT DISTINCT FROM OLD.date_after
            AND NEW.date_closed IS NOT DISTINCT FROM OLD.date_closed
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_post_stays BEFORE UPDATE ON backups_post
FOR EACH ROW EXECUTE FUNCTION backups_post_stays();

-- What belongs to a run may be deleted when the run may be.
CREATE FUNCTION backups_delete_with_run() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
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
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER backups_event_delete BEFORE DELETE ON backups_runevent
FOR EACH ROW EXECUTE FUNCTION backups_delete_with_run();

CREATE TRIGGER backups_call_delete BEFORE DELETE ON backups_apicall
FOR EACH ROW EXECUTE FUNCTION backups_delete_with_run();

CREATE TRIGGER backups_post_delete BEFORE DELETE ON backups_post
FOR EACH ROW EXECUTE FUNCTION backups_delete_with_run();

CREATE TRIGGER backups_files_delete BEFORE DELETE ON backups_file_check
FOR EACH ROW EXECUTE FUNCTION backups_delete_with_run();

CREATE TRIGGER backups_file_delete BEFORE DELETE ON backups_seen_file
FOR EACH ROW EXECUTE FUNCTION backups_delete_with_run();

-- A retention run needs an audit event of its class and cutoff that no earlier one has used.
CREATE FUNCTION backups_retention_announced() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
        NEW.finished_at IS NULL
        AND NEW.done = 0
        AND NEW.told > COALESCE((SELECT MAX(told) FROM backups_retentionrun), 0)
        AND EXISTS (
            SELECT 1 FROM audit_event AS event
            WHERE event.sequence = NEW.told
            AND event.action
            = CASE NEW.kind WHEN 'personal' THEN 'personal_data_masked' ELSE 'retention_run' END
            AND event.details->>'class' = NEW.kind
            AND (event.details->>'before')::timestamptz = NEW.cutoff
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_retention_announced BEFORE INSERT ON backups_retentionrun
FOR EACH ROW EXECUTE FUNCTION backups_retention_announced();

-- An open retention run may only progress.
CREATE FUNCTION backups_retention_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY['done', 'claimed_by', 'changed_at', 'finished_at'];
BEGIN
    IF (
        OLD.finished_at IS NULL
        AND to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_retention_stays BEFORE UPDATE ON backups_retentionrun
FOR EACH ROW EXECUTE FUNCTION backups_retention_stays();

CREATE FUNCTION backups_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER backups_retention_delete BEFORE DELETE ON backups_retentionrun
FOR EACH ROW EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_run_truncate BEFORE TRUNCATE ON backups_backuprun
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_event_truncate BEFORE TRUNCATE ON backups_runevent
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_call_truncate BEFORE TRUNCATE ON backups_apicall
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_post_truncate BEFORE TRUNCATE ON backups_post
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_retention_truncate BEFORE TRUNCATE ON backups_retentionrun
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

-- A seal is inserted pending.
CREATE FUNCTION backups_seal_pending() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (NEW.batch_id IS NULL AND NEW.digest = '' AND NEW.covers = '') IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_seal_pending BEFORE INSERT ON backups_run_seal
FOR EACH ROW EXECUTE FUNCTION backups_seal_pending();

-- A pending seal becomes a leaf of a batch, once.
CREATE FUNCTION backups_seal_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY[
        'facts', 'batch_id', 'place', 'digest', 'covers', 'altered'
    ];
BEGIN
    IF (
        OLD.batch_id IS NULL
        AND NEW.batch_id IS NOT NULL
        AND to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
        AND EXISTS (
            SELECT 1 FROM backups_seal_batch AS batch
            WHERE batch.id = NEW.batch_id AND batch.event IS NULL
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_seal_stays BEFORE UPDATE ON backups_run_seal
FOR EACH ROW EXECUTE FUNCTION backups_seal_stays();

-- A batch is given its event, once.
CREATE FUNCTION backups_batch_stays() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY['event'];
BEGIN
    IF (
        OLD.event IS NULL
        AND to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
        AND EXISTS (
            SELECT 1 FROM audit_event AS sealing
            WHERE sealing.sequence = NEW.event
            AND sealing.action = 'runs_sealed'
            AND sealing.details->>'root' = OLD.root
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_batch_stays BEFORE UPDATE ON backups_seal_batch
FOR EACH ROW EXECUTE FUNCTION backups_batch_stays();

CREATE TRIGGER backups_seal_delete BEFORE DELETE ON backups_run_seal
FOR EACH ROW EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_batch_delete BEFORE DELETE ON backups_seal_batch
FOR EACH ROW EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_seal_truncate BEFORE TRUNCATE ON backups_run_seal
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_batch_truncate BEFORE TRUNCATE ON backups_seal_batch
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

-- A check of the files in the bucket is inserted pending.
CREATE FUNCTION backups_files_pending() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
        NEW.checked_at IS NULL AND NEW.result = '' AND NEW.digest = '' AND NEW.event IS NULL
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_files_pending BEFORE INSERT ON backups_file_check
FOR EACH ROW EXECUTE FUNCTION backups_files_pending();

-- It is concluded once, with the audit event that has its digest.
CREATE FUNCTION backups_files_stay() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY[
        'due_at', 'attempts', 'checked_at', 'result', 'why', 'problem', 'bucket', 'prefix',
        'since', 'until', 'files', 'size', 'newest_at', 'digest', 'event'
    ];
BEGIN
    IF (
        OLD.checked_at IS NULL
        AND to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
        AND (
            NEW.checked_at IS NULL AND NEW.result = '' AND NEW.digest = '' AND NEW.event IS NULL
            OR NEW.checked_at IS NOT NULL
            AND NEW.digest <> ''
            AND EXISTS (
                SELECT 1 FROM audit_event AS checking
                WHERE checking.sequence = NEW.event
                AND checking.action = 'run_files_checked'
                AND checking.target_type = 'backups.backuprun'
                AND checking.target_id = CAST(OLD.run_id AS text)
                AND checking.details->>'digest' = NEW.digest
            )
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_files_stay BEFORE UPDATE ON backups_file_check
FOR EACH ROW EXECUTE FUNCTION backups_files_stay();

-- Files are added while their check is pending, and stay.
CREATE FUNCTION backups_file_pending() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
        EXISTS (
            SELECT 1 FROM backups_file_check AS pending
            WHERE pending.run_id = NEW.run_id AND pending.checked_at IS NULL
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The history does not change: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER backups_file_pending BEFORE INSERT ON backups_seen_file
FOR EACH ROW EXECUTE FUNCTION backups_file_pending();

CREATE TRIGGER backups_file_stays BEFORE UPDATE ON backups_seen_file
FOR EACH ROW EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_files_truncate BEFORE TRUNCATE ON backups_file_check
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

CREATE TRIGGER backups_file_truncate BEFORE TRUNCATE ON backups_seen_file
FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse();

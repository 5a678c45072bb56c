-- Trigger that refuses runs which begin with their end, for SQLite.
-- guards.postgresql.sql holds the same rule; change both files together.

-- A run begins as a request that waits to be sent, or is imported as a job that the cloud started
-- itself: ended, with the job and without anything that only a request has.
CREATE TRIGGER backups_run_begins BEFORE INSERT ON backups_backuprun FOR EACH ROW
WHEN (
    NEW.attempt = 0
    AND NEW.outcome = ''
    AND NEW.evidence = ''
    AND NEW.sent_at IS NULL
    AND NEW.answered_at IS NULL
    AND NEW.http_status IS NULL
    AND NEW.corrected_from = ''
    AND NEW.corrected_by IS NULL
    AND NEW.masked_by IS NULL
    AND NOT NEW.settled_by_hand
    AND (
        NEW.state = 'queued'
        AND NEW."trigger" <> 'cloud'
        AND NEW.job_id IS NULL
        AND NEW.record_id = ''
        AND NEW.finished_at IS NULL
        OR NEW.state IN ('failed', 'succeeded')
        AND NEW."trigger" = 'cloud'
        AND NEW.job_id <> ''
        AND NEW.finished_at IS NOT NULL
        AND NEW.requested_by_id IS NULL
        AND NEW.source_ip IS NULL
        AND NEW.idempotency_key IS NULL
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The history does not change: INSERT of backups_backuprun refused');
END;

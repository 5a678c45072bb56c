-- Triggers that keep the audit trail append-only, for SQLite.
-- guards.postgresql.sql holds the same rules; change both files together.
--
-- "IS NOT TRUE": a condition that evaluates to NULL refuses the change as well.

-- A new event must be the next link of the chain.
CREATE TRIGGER audit_event_append BEFORE INSERT ON audit_event FOR EACH ROW
WHEN (
    NEW.sequence = 1 + COALESCE(
        (SELECT MAX(sequence) FROM audit_event),
        (SELECT MAX(sequence) FROM audit_anchor),
        0
    )
    AND NEW.previous_hash = COALESCE(
        (SELECT hash FROM audit_event WHERE sequence = NEW.sequence - 1),
        (SELECT hash FROM audit_anchor WHERE sequence = NEW.sequence - 1),
        '0000000000000000000000000000000000000000000000000000000000000000'
    )
    AND NEW.masked_by IS NULL
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: INSERT of audit_event refused');
END;

-- The only update: empty the personal part once, referring to the event that records the masking.
-- The target is emptied only if it is a person.
CREATE TRIGGER audit_event_mask BEFORE UPDATE ON audit_event FOR EACH ROW
WHEN (
    -- all other columns stay
    NEW.sequence IS OLD.sequence
    AND NEW.form IS OLD.form
    AND NEW."at" IS OLD."at"
    AND NEW.action IS OLD.action
    AND NEW.request_id IS OLD.request_id
    AND NEW.personal IS OLD.personal
    AND NEW.target_type IS OLD.target_type
    AND NEW.target_is_person IS OLD.target_is_person
    AND NEW.project_id IS OLD.project_id
    AND NEW.project_label IS OLD.project_label
    AND NEW.reason IS OLD.reason
    AND NEW."before" IS OLD."before"
    AND NEW."after" IS OLD."after"
    AND NEW.details IS OLD.details
    AND NEW.previous_hash IS OLD.previous_hash
    AND NEW.hash IS OLD.hash
    -- the personal part becomes empty
    AND OLD.masked_by IS NULL
    AND NEW.actor_user_id IS NULL
    AND NEW.actor_name = ''
    AND NEW.ip = ''
    AND NEW.user_agent = ''
    AND NEW.salt = ''
    AND NEW.target_id = CASE WHEN OLD.target_is_person THEN '' ELSE OLD.target_id END
    AND NEW.target_label = CASE WHEN OLD.target_is_person THEN '' ELSE OLD.target_label END
    AND EXISTS (
        SELECT 1 FROM audit_event AS masking
        WHERE masking.sequence = NEW.masked_by
        AND masking.sequence > OLD.sequence
        AND masking.action = 'personal_data_masked'
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: UPDATE of audit_event refused');
END;

-- Events up to the newest anchor may be deleted.
CREATE TRIGGER audit_event_prune BEFORE DELETE ON audit_event FOR EACH ROW
WHEN (
    OLD.sequence <= COALESCE((SELECT MAX(sequence) FROM audit_anchor), 0)
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: DELETE of audit_event refused');
END;

-- An anchor copies an existing event that is newer than all anchors, and refers to a later event
-- that records the retention run.
CREATE TRIGGER audit_anchor_append BEFORE INSERT ON audit_anchor FOR EACH ROW
WHEN (
    NEW.sequence > COALESCE((SELECT MAX(sequence) FROM audit_anchor), 0)
    AND EXISTS (
        SELECT 1 FROM audit_event AS anchored
        WHERE anchored.sequence = NEW.sequence
        AND anchored.hash = NEW.hash
        AND anchored."at" = NEW."at"
    )
    AND EXISTS (
        SELECT 1 FROM audit_event AS retention
        WHERE retention.sequence = NEW.recorded_by
        AND retention.sequence > NEW.sequence
        AND retention.action = 'retention_run'
    )
) IS NOT TRUE
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: INSERT of audit_anchor refused');
END;

CREATE TRIGGER audit_anchor_update BEFORE UPDATE ON audit_anchor FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: UPDATE of audit_anchor refused');
END;

CREATE TRIGGER audit_anchor_delete BEFORE DELETE ON audit_anchor FOR EACH ROW
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: DELETE of audit_anchor refused');
END;

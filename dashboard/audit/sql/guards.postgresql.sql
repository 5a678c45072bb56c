-- Triggers that keep the audit trail append-only, for PostgreSQL.
-- guards.sqlite.sql holds the same rules; change both files together.
--
-- {schema} is the schema of the tables. pg_temp stands last: if it is not named, PostgreSQL
-- searches it first, and anybody's temporary table of the same name would be asked instead.
-- "IS NOT TRUE": a condition that evaluates to NULL refuses the change as well.

-- A new event must be the next link of the chain.
CREATE FUNCTION audit_event_append() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
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
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The audit trail is append-only: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_event_append BEFORE INSERT ON audit_event
FOR EACH ROW EXECUTE FUNCTION audit_event_append();

-- The only update: empty the personal part once, referring to the event that records the masking.
-- The target is emptied only if it is a person.
CREATE FUNCTION audit_event_mask() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
DECLARE
    may_change CONSTANT text[] := ARRAY[
        'actor_user_id', 'actor_name', 'ip', 'user_agent', 'salt', 'target_id', 'target_label',
        'masked_by'
    ];
BEGIN
    IF (
        -- all other columns stay, including those of later migrations
        to_jsonb(NEW) - may_change = to_jsonb(OLD) - may_change
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
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The audit trail is append-only: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_event_mask BEFORE UPDATE ON audit_event
FOR EACH ROW EXECUTE FUNCTION audit_event_mask();

-- Events up to the newest anchor may be deleted.
CREATE FUNCTION audit_event_prune() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
        OLD.sequence <= COALESCE((SELECT MAX(sequence) FROM audit_anchor), 0)
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The audit trail is append-only: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;

CREATE TRIGGER audit_event_prune BEFORE DELETE ON audit_event
FOR EACH ROW EXECUTE FUNCTION audit_event_prune();

-- An anchor copies an existing event that is newer than all anchors, and refers to a later event
-- that records the retention run.
CREATE FUNCTION audit_anchor_append() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF (
        NEW.sequence > COALESCE((SELECT MAX(sequence) FROM audit_anchor), 0)
        AND EXISTS (
            SELECT 1 FROM audit_event AS anchored
            WHERE anchored.sequence = NEW.sequence
            AND anchored.hash = NEW.hash
            AND anchored.at = NEW.at
        )
        AND EXISTS (
            SELECT 1 FROM audit_event AS retention
            WHERE retention.sequence = NEW.recorded_by
            AND retention.sequence > NEW.sequence
            AND retention.action = 'retention_run'
        )
    ) IS NOT TRUE THEN
        RAISE EXCEPTION 'The audit trail is append-only: % of % refused', TG_OP, TG_TABLE_NAME
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER audit_anchor_append BEFORE INSERT ON audit_anchor
FOR EACH ROW EXECUTE FUNCTION audit_anchor_append();

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit trail is append-only: % of % refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER audit_anchor_update BEFORE UPDATE ON audit_anchor
FOR EACH ROW EXECUTE FUNCTION audit_refuse();

CREATE TRIGGER audit_anchor_delete BEFORE DELETE ON audit_anchor
FOR EACH ROW EXECUTE FUNCTION audit_refuse();

CREATE TRIGGER audit_event_truncate BEFORE TRUNCATE ON audit_event
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

CREATE TRIGGER audit_anchor_truncate BEFORE TRUNCATE ON audit_anchor
FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();

-- Triggers that record changes of objectives and of the clusters that count, for PostgreSQL.
-- guards.sqlite.sql holds the same rules; change both files together.
--
-- They read no other row, so they add no lock to those that the change takes anyway.

CREATE FUNCTION backups_cluster_registered() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO backups_scope_change (cluster_id, at, watched, objective_hours)
    VALUES (
        NEW.id,
        NEW.registered_at,
        NEW.gone_at IS NULL AND NEW.archived_at IS NULL,
        NEW.objective_hours
    );
    RETURN NULL;
END $$;

CREATE TRIGGER backups_cluster_registered AFTER INSERT ON backups_cluster
FOR EACH ROW EXECUTE FUNCTION backups_cluster_registered();

CREATE FUNCTION backups_cluster_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF NEW.objective_hours IS DISTINCT FROM OLD.objective_hours
    OR (NEW.gone_at IS NULL AND NEW.archived_at IS NULL)
    <> (OLD.gone_at IS NULL AND OLD.archived_at IS NULL) THEN
        INSERT INTO backups_scope_change (cluster_id, at, watched, objective_hours)
        VALUES (
            NEW.id,
            clock_timestamp(),
            NEW.gone_at IS NULL AND NEW.archived_at IS NULL,
            NEW.objective_hours
        );
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER backups_cluster_changed
AFTER UPDATE OF gone_at, archived_at, objective_hours ON backups_cluster
FOR EACH ROW EXECUTE FUNCTION backups_cluster_changed();

CREATE FUNCTION backups_project_added() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    INSERT INTO backups_objective_change (project_id, at, objective_hours)
    VALUES (NEW.id, clock_timestamp(), NEW.objective_hours);
    RETURN NULL;
END $$;

CREATE TRIGGER backups_project_added AFTER INSERT ON backups_project
FOR EACH ROW EXECUTE FUNCTION backups_project_added();

CREATE FUNCTION backups_project_changed() RETURNS trigger LANGUAGE plpgsql
SET search_path = {schema}, pg_temp AS $$
BEGIN
    IF NEW.objective_hours <> OLD.objective_hours THEN
        INSERT INTO backups_objective_change (project_id, at, objective_hours)
        VALUES (NEW.id, clock_timestamp(), NEW.objective_hours);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER backups_project_changed AFTER UPDATE OF objective_hours ON backups_project
FOR EACH ROW EXECUTE FUNCTION backups_project_changed();

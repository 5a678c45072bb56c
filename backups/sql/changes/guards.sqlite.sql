-- Triggers that record changes of objectives and of the clusters that count, for SQLite.
-- guards.postgresql.sql holds the same rules; change both files together.
-- Times have the form in which Django stores them.

CREATE TRIGGER backups_cluster_registered AFTER INSERT ON backups_cluster FOR EACH ROW
BEGIN
    INSERT INTO backups_scope_change (cluster_id, at, watched, objective_hours)
    VALUES (
        NEW.id,
        NEW.registered_at,
        NEW.gone_at IS NULL AND NEW.archived_at IS NULL,
        NEW.objective_hours
    );
END;

CREATE TRIGGER backups_cluster_changed
AFTER UPDATE OF gone_at, archived_at, objective_hours ON backups_cluster FOR EACH ROW
WHEN NEW.objective_hours IS NOT OLD.objective_hours
OR (NEW.gone_at IS NULL AND NEW.archived_at IS NULL)
<> (OLD.gone_at IS NULL AND OLD.archived_at IS NULL)
BEGIN
    INSERT INTO backups_scope_change (cluster_id, at, watched, objective_hours)
    VALUES (
        NEW.id,
        strftime('%Y-%m-%d %H:%M:%f', 'now') || '000',
        NEW.gone_at IS NULL AND NEW.archived_at IS NULL,
        NEW.objective_hours
    );
END;

CREATE TRIGGER backups_project_added AFTER INSERT ON backups_project FOR EACH ROW
BEGIN
    INSERT INTO backups_objective_change (project_id, at, objective_hours)
    VALUES (NEW.id, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', NEW.objective_hours);
END;

CREATE TRIGGER backups_project_changed AFTER UPDATE OF objective_hours ON backups_project FOR EACH ROW
WHEN NEW.objective_hours <> OLD.objective_hours
BEGIN
    INSERT INTO backups_objective_change (project_id, at, objective_hours)
    VALUES (NEW.id, strftime('%Y-%m-%d %H:%M:%f', 'now') || '000', NEW.objective_hours);
END;

-- SQLite's REPLACE deletes the rows whose keys it takes, without running DELETE triggers. This
-- trigger refuses a key that another row has. The other guards leave REPLACE no further key to
-- take. PostgreSQL needs none of this.

CREATE TRIGGER audit_anchor_taken BEFORE INSERT ON audit_anchor FOR EACH ROW
WHEN
EXISTS (SELECT 1 FROM audit_anchor WHERE sequence = NEW.sequence)
OR EXISTS (SELECT 1 FROM audit_anchor WHERE recorded_by = NEW.recorded_by)
BEGIN
    SELECT RAISE(ABORT, 'The audit trail is append-only: a key of audit_anchor is taken');
END;

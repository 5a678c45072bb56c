-- Full text search in run messages, for SQLite: see backups/lists/text_search.py.

-- Not in the model: an entry of a PostgreSQL index is limited to a third of a page.
CREATE INDEX IF NOT EXISTS run_newest_with_text
ON backups_backuprun (requested_at DESC, id DESC, message, failed_message)
WHERE message <> '' OR failed_message <> '';

-- An external-content table: the text itself stays in the runs. It holds only runs with a message.
CREATE VIRTUAL TABLE backups_run_words USING fts5(
    message, failed_message,
    content='backups_backuprun', content_rowid='id', tokenize='trigram', detail='full'
);

INSERT INTO backups_run_words (rowid, message, failed_message)
SELECT id, message, failed_message FROM backups_backuprun
WHERE message <> '' OR failed_message <> '';

CREATE TRIGGER backups_words_added AFTER INSERT ON backups_backuprun
WHEN NEW.message <> '' OR NEW.failed_message <> ''
BEGIN
INSERT INTO backups_run_words (rowid, message, failed_message)
VALUES (NEW.id, NEW.message, NEW.failed_message);
END;

CREATE TRIGGER backups_words_changed AFTER UPDATE OF message, failed_message ON backups_backuprun
WHEN NEW.message IS NOT OLD.message OR NEW.failed_message IS NOT OLD.failed_message
BEGIN
INSERT INTO backups_run_words (backups_run_words, rowid, message, failed_message)
SELECT 'delete', OLD.id, OLD.message, OLD.failed_message
WHERE OLD.message <> '' OR OLD.failed_message <> '';
INSERT INTO backups_run_words (rowid, message, failed_message)
SELECT NEW.id, NEW.message, NEW.failed_message
WHERE NEW.message <> '' OR NEW.failed_message <> '';
END;

CREATE TRIGGER backups_words_removed AFTER DELETE ON backups_backuprun
WHEN OLD.message <> '' OR OLD.failed_message <> ''
BEGIN
INSERT INTO backups_run_words (backups_run_words, rowid, message, failed_message)
VALUES ('delete', OLD.id, OLD.message, OLD.failed_message);
END;

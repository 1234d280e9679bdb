"""Folder counters follow every write of a message, by statement triggers with transition tables (ADR 0006).

A counter that lives in the database cannot be forgotten by a code path and commits with the rows it counts.
"""

from django.db import migrations

FOLDERS = """
    LATERAL (VALUES
        ('inbox', m.in_inbox), ('sent', m.in_sent), ('archive', m.in_archive),
        ('drafts', m.in_drafts), ('trash', m.in_trash), ('spam', m.in_spam),
        ('starred', m.is_starred AND m.removed_at IS NULL AND NOT m.in_trash AND NOT m.in_spam),
        ('all', m.removed_at IS NULL AND NOT m.in_trash AND NOT m.in_spam)
    ) AS folder(role, present)
"""

UPSERT = f"""
CREATE FUNCTION email_sync_count_{{event}}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO email_sync_foldercounter AS counter (connection_id, role, total, unread)
    SELECT m.connection_id, folder.role, sum(m.sign), sum(CASE WHEN m.is_read THEN 0 ELSE m.sign END)
    FROM ({{rows}}) AS m, {FOLDERS}
    WHERE folder.present
    GROUP BY m.connection_id, folder.role
    HAVING sum(m.sign) <> 0 OR sum(CASE WHEN m.is_read THEN 0 ELSE m.sign END) <> 0
    ORDER BY m.connection_id, folder.role
    ON CONFLICT (connection_id, role) DO UPDATE
    SET total = counter.total + excluded.total, unread = counter.unread + excluded.unread;
    RETURN NULL;
END $$;
"""

# A deletion only lowers counters that are there: with a whole connection they go in the same statement or before.
LOWER = f"""
CREATE FUNCTION email_sync_count_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE email_sync_foldercounter AS counter
    SET total = counter.total - gone.total, unread = counter.unread - gone.unread
    FROM (
        SELECT m.connection_id, folder.role, count(*) AS total, count(*) FILTER (WHERE NOT m.is_read) AS unread
        FROM old_rows AS m, {FOLDERS}
        WHERE folder.present
        GROUP BY m.connection_id, folder.role
    ) AS gone
    WHERE counter.connection_id = gone.connection_id AND counter.role = gone.role;
    RETURN NULL;
END $$;
"""

TRIGGERS = """
CREATE TRIGGER email_sync_count_insert AFTER INSERT ON email_sync_message
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION email_sync_count_insert();
CREATE TRIGGER email_sync_count_update AFTER UPDATE ON email_sync_message
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION email_sync_count_update();
CREATE TRIGGER email_sync_count_delete AFTER DELETE ON email_sync_message
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION email_sync_count_delete();
"""

DROP = """
DROP TRIGGER email_sync_count_insert ON email_sync_message;
DROP TRIGGER email_sync_count_update ON email_sync_message;
DROP TRIGGER email_sync_count_delete ON email_sync_message;
DROP FUNCTION email_sync_count_insert();
DROP FUNCTION email_sync_count_update();
DROP FUNCTION email_sync_count_delete();
"""


class Migration(migrations.Migration):
    dependencies = [("email_sync", "0001_initial")]

    operations = [
        migrations.RunSQL(
            UPSERT.format(event="insert", rows="SELECT n.*, 1 AS sign FROM new_rows AS n")
            + UPSERT.format(
                event="update",
                rows="SELECT n.*, 1 AS sign FROM new_rows AS n UNION ALL SELECT o.*, -1 AS sign FROM old_rows AS o",
            )
            + LOWER
            + TRIGGERS,
            DROP,
        )
    ]

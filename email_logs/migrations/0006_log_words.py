"""What an entry is found by: its words, its state, its source and its mailbox as one `tsvector`, kept by PostgreSQL.

`email_logs.services.searching` asks for it; no model has it, so that nobody reads it by accident. The words are folded
here and nowhere else: a query goes through `email_logs_words` too. Marks begin with a capital, which no folded word has.
"""

from django.db import migrations

WORDS = r"""
    CREATE FUNCTION email_logs_words(given text) RETURNS text[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
    DECLARE
        folded text := lower(given);
    BEGIN
        IF octet_length(folded) > length(folded) THEN
            folded := regexp_replace(normalize(folded, NFKD), '[\u0300-\u036f]+', '', 'g');
            folded := replace(replace(replace(folded, 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe');
            folded := translate(lower(folded), 'øðđłıŋħŧ', 'oddlinht');
            -- written without blanks: each character is a word
            folded := regexp_replace(folded, '([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff])', ' \1 ', 'g');
        END IF;
        folded := regexp_replace(folded, '[\x01-\x2f\x3a-\x60\x7b-\xbf\u2000-\u206f\u3000-\u303f]+', ' ', 'g');
        IF octet_length(folded) > 2000 THEN  -- PostgreSQL refuses words over 2,046 bytes
            folded := regexp_replace(folded, '([^ ]{250}[^ ]{250})[^ ]+', '\1', 'g');
        END IF;
        RETURN array_remove(string_to_array(folded, ' '), '');
    END $$
"""
DOCUMENT = """
    CREATE FUNCTION email_logs_document(
        words text[], state text, source text, connection_id uuid
    ) RETURNS tsvector LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        found text[] := words || ('S' || state);
    BEGIN
        IF source <> '' THEN
            found := found || ('O' || source);
        END IF;
        IF connection_id IS NOT NULL THEN
            found := found || ('C' || connection_id::text);
        END IF;
        RETURN array_to_tsvector(found);
    END $$
"""
PERIODS = """
    CREATE FUNCTION email_logs_periods(table_id uuid, sent_at timestamptz) RETURNS bigint[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $$
    DECLARE
        bits bigint := ('x' || right(replace(table_id::text, '-', ''), 9))::bit(36)::bigint << 24;
        day date := (sent_at AT TIME ZONE 'UTC')::date;
        year integer := extract(year FROM day);
    BEGIN
        RETURN ARRAY[
            bits | ((day - date '0001-01-01') * 4),
            bits | ((year * 12 + extract(month FROM day)::integer) * 4 + 1),
            bits | (year * 4 + 2)
        ];
    END $$
"""


class Migration(migrations.Migration):
    dependencies = [("email_logs", "0005_mirror")]

    operations = [
        migrations.RunSQL(WORDS, "DROP FUNCTION email_logs_words"),
        migrations.RunSQL(DOCUMENT, "DROP FUNCTION email_logs_document"),
        migrations.RunSQL(PERIODS, "DROP FUNCTION email_logs_periods"),
        migrations.RunSQL(
            """
            ALTER TABLE email_logs_emaillogentry ADD COLUMN document tsvector
            GENERATED ALWAYS AS (
                email_logs_document(
                    email_logs_words(left("to" || ' ' || subject || ' ' || message_id, 100000)),
                    state::text, source::text, connection_id
                )
            ) STORED
            """,
            "ALTER TABLE email_logs_emaillogentry DROP COLUMN document",
        ),
        migrations.RunSQL(
            """
            CREATE INDEX emaillogentry_words ON email_logs_emaillogentry
            USING gin (email_logs_periods(table_id, sent_at), document) WITH (gin_pending_list_limit = 512)
            """,
            "DROP INDEX emaillogentry_words",
        ),
    ]

"""Which addresses and domains stand for several entities of a type is kept with every match, by triggers (ADR 41).

By row and by the unique index, so that a match costs the same whatever else there is: the type is compared as an
expression, or the index of entities looks as good to a planner that knows little of the table yet; and it is planned
anew each time, because a session keeps the plan that was good while the table was small. `shared` rises for a whole group
when a second one comes and falls for the one that is left.
"""

from django.db import migrations, models
from django.db.models import Q

KEPT = {"addressmatch": "address_key", "domainmatch": "domain"}
"""Table → the column that several may share."""

FILL = """
UPDATE entities_{table} AS match SET shared = true
FROM (
    SELECT workspace_id, {key}, entity_type FROM entities_{table} GROUP BY 1, 2, 3 HAVING count(*) > 1
) AS several
WHERE match.workspace_id = several.workspace_id AND match.{key} = several.{key}
    AND match.entity_type = several.entity_type;
"""

KEEP = """
CREATE FUNCTION entities_{table}_made() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('matches ' || NEW.workspace_id, 0));
    IF EXISTS (
        SELECT FROM entities_{table} AS other WHERE other.workspace_id = NEW.workspace_id AND other.{key} = NEW.{key}
            AND other.entity_type || '' = NEW.entity_type AND other.id <> NEW.id
    ) THEN
        UPDATE entities_{table} AS match SET shared = true WHERE match.workspace_id = NEW.workspace_id
            AND match.{key} = NEW.{key} AND match.entity_type || '' = NEW.entity_type AND NOT match.shared;
    END IF;
    RETURN NULL;
END $$;
CREATE FUNCTION entities_{table}_gone() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('matches ' || OLD.workspace_id, 0));
    IF 1 = (
        SELECT count(*) FROM (
            SELECT FROM entities_{table} AS other WHERE other.workspace_id = OLD.workspace_id
                AND other.{key} = OLD.{key} AND other.entity_type || '' = OLD.entity_type LIMIT 2
        ) AS left_over
    ) THEN
        UPDATE entities_{table} AS match SET shared = false WHERE match.workspace_id = OLD.workspace_id
            AND match.{key} = OLD.{key} AND match.entity_type || '' = OLD.entity_type AND match.shared;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER entities_{table}_made AFTER INSERT ON entities_{table}
    FOR EACH ROW EXECUTE FUNCTION entities_{table}_made();
CREATE TRIGGER entities_{table}_gone AFTER DELETE ON entities_{table}
    FOR EACH ROW WHEN (OLD.shared) EXECUTE FUNCTION entities_{table}_gone();
"""

DROP = """
DROP TRIGGER entities_{table}_made ON entities_{table};
DROP TRIGGER entities_{table}_gone ON entities_{table};
DROP FUNCTION entities_{table}_made();
DROP FUNCTION entities_{table}_gone();
"""


def each(sql: str) -> str:
    """For both tables."""
    return "".join(sql.format(table=table, key=key) for table, key in KEPT.items())


class Migration(migrations.Migration):
    dependencies = [("entities", "0003_words_of_the_console")]

    operations = [
        *(
            migrations.AddField(
                model_name=table, name="shared", field=models.BooleanField(db_default=False, editable=False)
            )
            for table in KEPT
        ),
        migrations.RunSQL(each(FILL), migrations.RunSQL.noop),
        *(
            migrations.AddIndex(
                model_name=table,
                index=models.Index(condition=Q(shared=True), fields=["workspace", "-id"], name=f"{table}_to_decide"),
            )
            for table in KEPT
        ),
        migrations.RunSQL(each(KEEP), each(DROP)),
    ]

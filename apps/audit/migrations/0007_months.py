"""The trail by months, so that retention lets months go as a whole.

Nothing is copied and no index is built: the table as it stands becomes the first partition of a new one that has its
name, columns, foreign keys, indexes, grants and triggers. That takes the time of one look over its rows (about a second
for a million), under a lock for which it waits ten seconds at most, all or nothing. Ids go on where they were.

There is no way back: the months that were begun since would have to be poured into one table again, past the triggers.
"""

from datetime import UTC, datetime

from django.db import migrations, models

FORWARD = """
SET LOCAL lock_timeout = '10s';
LOCK TABLE audit_auditentry IN ACCESS EXCLUSIVE MODE;
SET CONSTRAINTS ALL IMMEDIATE;

DO $$
DECLARE
    found record;
    indexes text[] := ARRAY(
        SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = 'audit_auditentry'::regclass AND NOT indisprimary);
    keys text[] := ARRAY(
        SELECT format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE conrelid = 'audit_auditentry'::regclass AND contype = 'f');
    may text[] := ARRAY(
        SELECT format('GRANT %s ON audit_auditentry TO %s', privilege_type,
                      CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
        FROM pg_class, aclexplode(relacl) WHERE oid = 'audit_auditentry'::regclass AND grantee <> relowner);
    draws text[] := ARRAY(
        SELECT format('GRANT %s ON SEQUENCE audit_auditentry_id_seq TO %s', privilege_type,
                      CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
        FROM pg_class, aclexplode(relacl)
        WHERE oid = pg_get_serial_sequence('audit_auditentry', 'id')::regclass AND grantee <> relowner);
    one text;
    next_id bigint;
BEGIN
    EXECUTE format('SELECT CASE WHEN is_called THEN last_value + 1 ELSE last_value END FROM %s',
                   pg_get_serial_sequence('audit_auditentry', 'id')) INTO next_id;
    next_id := greatest(next_id, (SELECT coalesce(max(id), 0) + 1 FROM audit_auditentry));
    FOR found IN SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                 WHERE i.indrelid = 'audit_auditentry'::regclass LOOP
        EXECUTE format('ALTER INDEX %I RENAME TO %I', found.relname, left(found.relname, 57) || '_first');
    END LOOP;
    DROP TRIGGER audit_entry_stands ON audit_auditentry;
    ALTER TABLE audit_auditentry ALTER COLUMN id DROP IDENTITY;
    ALTER TABLE audit_auditentry RENAME TO audit_auditentry_first;

    CREATE TABLE audit_auditentry (LIKE audit_auditentry_first INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
        PARTITION BY RANGE (timestamp);
    CREATE SEQUENCE audit_auditentry_id_seq AS bigint OWNED BY audit_auditentry.id;
    PERFORM setval('audit_auditentry_id_seq', next_id, false);
    ALTER TABLE audit_auditentry ALTER COLUMN id SET DEFAULT nextval('audit_auditentry_id_seq');
    FOREACH one IN ARRAY keys LOOP EXECUTE 'ALTER TABLE audit_auditentry ADD ' || one; END LOOP;
    FOREACH one IN ARRAY indexes LOOP EXECUTE one; END LOOP;
    FOREACH one IN ARRAY may || draws LOOP EXECUTE one; END LOOP;
    CREATE TRIGGER audit_entry_stands BEFORE UPDATE OR DELETE ON audit_auditentry
        FOR EACH ROW EXECUTE FUNCTION audit_stands();
    CREATE TRIGGER audit_entry_not_emptied BEFORE TRUNCATE ON audit_auditentry
        FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
    EXECUTE format('ALTER TABLE audit_auditentry ATTACH PARTITION audit_auditentry_first FOR VALUES FROM (MINVALUE) TO (%L)',
                   '{until} 00:00:00+00');
END $$;

CREATE TABLE audit_auditentry_default PARTITION OF audit_auditentry DEFAULT;
ALTER TABLE audit_auditentry_default ADD PRIMARY KEY (id);
CREATE TRIGGER audit_entry_not_emptied BEFORE TRUNCATE ON audit_auditentry_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
"""

STANDS = """
CREATE TRIGGER audit_retirement_stands BEFORE UPDATE OR DELETE ON audit_auditretirement
    FOR EACH ROW EXECUTE FUNCTION audit_stands();
CREATE TRIGGER audit_retirement_not_emptied BEFORE TRUNCATE ON audit_auditretirement
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
"""


def by_months(apps, schema_editor):
    from django.db.models import Max

    from apps.audit.partitions import make_months, month_after

    today = datetime.now(UTC).date()
    newest = apps.get_model("audit", "AuditEntry")._base_manager.aggregate(at=Max("timestamp"))["at"]
    # A clock that ran ahead may have written an entry of a month that is not yet.
    until = month_after(max(today, newest.astimezone(UTC).date()) if newest else today)
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(FORWARD.replace("{until}", until.isoformat()))
    make_months(today)


class Migration(migrations.Migration):
    dependencies = [("audit", "0006_streams")]
    operations = [
        migrations.AlterField(
            model_name="auditentry",
            name="event",
            field=models.CharField(
                choices=[
                    ("change", "Change"), ("access", "Access given or taken"), ("operation", "Operation"),
                    ("sign_in", "Sign-in"), ("sign_in_failed", "Failed sign-in"), ("sign_out", "Sign-out"),
                    ("denied", "Denied"), ("export", "Export"), ("read", "Sensitive read"), ("retention", "Entries let go"),
                ],
                db_default="change", default="", help_text="kind of what happened", max_length=20,
            ),
        ),  # fmt: skip
        migrations.CreateModel(
            name="AuditRetirement",
            fields=[
                ("number", models.PositiveIntegerField(primary_key=True, serialize=False)),
                ("header", models.JSONField(help_text="what is hashed and signed")),
                ("hash", models.CharField(max_length=64, unique=True)),
                ("signature", models.BinaryField()),
                ("at", models.DateTimeField()),
            ],
            options={"ordering": ["-number"]},
        ),
        migrations.RunPython(by_months),
        migrations.RunSQL(STANDS, migrations.RunSQL.noop),
    ]

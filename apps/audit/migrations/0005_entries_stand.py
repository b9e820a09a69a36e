"""The database itself refuses to change or delete entries and seals, whoever asks: a page, the admin, a migration.

The triggers fire for the table's owner and for superusers too. Only a superuser can step over them, by
`session_replication_role`; the seals are there to tell on who does. In production the portal's role is best neither
(`manage.py audit grants`).
"""

from django.db import migrations

FORWARD = """
UPDATE audit_auditentry SET event = 'export' WHERE action = 3 AND event = 'change';

CREATE FUNCTION audit_stands() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% of % is refused: the audit trail is only ever added to', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege', HINT = 'See docs/explanation/audit-trail.md.';
END $$;

CREATE TRIGGER audit_entry_stands BEFORE UPDATE OR DELETE ON audit_auditentry
    FOR EACH ROW EXECUTE FUNCTION audit_stands();
CREATE TRIGGER audit_entry_not_emptied BEFORE TRUNCATE ON audit_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
CREATE TRIGGER audit_seal_stands BEFORE UPDATE OR DELETE ON audit_auditseal
    FOR EACH ROW EXECUTE FUNCTION audit_stands();
CREATE TRIGGER audit_seal_not_emptied BEFORE TRUNCATE ON audit_auditseal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_stands();
"""

BACKWARD = """
DROP TRIGGER audit_entry_stands ON audit_auditentry;
DROP TRIGGER audit_entry_not_emptied ON audit_auditentry;
DROP TRIGGER audit_seal_stands ON audit_auditseal;
DROP TRIGGER audit_seal_not_emptied ON audit_auditseal;
DROP FUNCTION audit_stands();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0004_tamper_evidence")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]

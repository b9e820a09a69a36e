"""auditlog makes a table for its own LogEntry, which stays empty: ours is AuditEntry.

Its foreign keys to users and content types are dropped, so that nothing has to look into it when
such a row is deleted or truncated. The table itself stays, for auditlog's own later migrations.
"""

from django.db import migrations

DROP = """
DO $$ DECLARE found record; BEGIN
    FOR found IN SELECT conname FROM pg_constraint WHERE conrelid = 'auditlog_logentry'::regclass AND contype = 'f' LOOP
        EXECUTE format('ALTER TABLE auditlog_logentry DROP CONSTRAINT %I', found.conname);
    END LOOP;
END $$
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_initial"), ("auditlog", "0017_add_actor_email")]
    operations = [migrations.RunSQL(DROP, migrations.RunSQL.noop)]

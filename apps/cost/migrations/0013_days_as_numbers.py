
import django.contrib.postgres.fields
from django.db import migrations, models

VIEW = """
CREATE VIEW cost_dailycost AS
SELECT s.id * 65536 + d.place AS id, s.run_id, s.account_id, s.sub_account_id, s.service, s.rule_id, s.currency, s.tenant_id,
       {day} AS day, d.billed, d.effective, d.listed, d.lines
FROM cost_costseries s,
     unnest(s.days, s.billed, coalesce(s.effective, s.billed), coalesce(s.listed, s.billed), s.lines) WITH ORDINALITY AS d (day, billed, effective, listed, lines, place);
"""
# The table is written anew: about a minute for ten million days. The function is of this session alone.
CHANGE = """
DROP VIEW cost_dailycost;
CREATE FUNCTION pg_temp.turned(days {before}[]) RETURNS {after}[] LANGUAGE sql IMMUTABLE AS
$$ SELECT array_agg({turned} ORDER BY place) FROM unnest(days) WITH ORDINALITY AS d (day, place) $$;
ALTER TABLE cost_costseries ALTER COLUMN days TYPE {after}[] USING pg_temp.turned(days);
DROP FUNCTION pg_temp.turned({before}[]);
"""
TO_NUMBERS = CHANGE.format(before='date', after='integer', turned="day - DATE '1970-01-01'") + VIEW.format(day="DATE '1970-01-01' + d.day")
TO_DATES = CHANGE.format(before='integer', after='date', turned="DATE '1970-01-01' + day") + VIEW.format(day='d.day')


class Migration(migrations.Migration):
    """Days of a series as numbers from 1970: PostgreSQL reads them in a quarter of the time."""

    dependencies = [('cost', '0012_agreements_once')]

    operations = [
        migrations.RunSQL(
            TO_NUMBERS, TO_DATES,
            state_operations=[
                migrations.AlterField(
                    model_name='costseries',
                    name='days',
                    field=django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), size=None),
                ),
            ],
        ),
    ]

"""Expected revenue is kept by month, and every change of what it is reckoned from counts the months that it touches.

Triggers count, a statement at a time, in the transaction of the change: pages, admin, bulk updates, COPY and psql alike. An
UPDATE that changes nothing a price is reckoned by counts nothing. Counting inserts a row and so waits for nobody. Whoever
alters a column that is named here alters the function too.
"""

import django.db.models.deletion
from django.db import migrations, models

#: Of each table: the kind it counts as, the first and last day that a row counts for, the columns that matter.
INPUTS = {
    "tenants_subscription": (
        "subscription", "starts_on", "ends_on", ("tenant_id", "plan_id", "monthly_price", "currency", "starts_on", "ends_on"),
    ),
    "cost_price": ("price", "starts_on", "ends_on", ("plan_id", "meter", "currency", "tiers", "starts_on", "ends_on")),
    "cost_discount": ("discount", "starts_on", "ends_on", ("tenant_id", "percent", "starts_on", "ends_on")),
    "cost_commitment": (
        "commitment", "starts_on", "ends_on", ("tenant_id", "currency", "monthly_minimum", "starts_on", "ends_on"),
    ),
    "cost_monthlyusage": ("monthlyusage", "month", "month", ("month", "driver", "tenant_id", "amount")),
    # Until the next rate of the pair, which is not asked for here: until further notice.
    "cost_rate": ("rate", "day", "", ("currency", "into", "day", "rate")),
}  # fmt: skip

FUNCTION = """
CREATE FUNCTION cost_count_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO cost_inputchange (kind, first, last, count) SELECT DISTINCT '{kind}', {span_n}, 1 FROM new_rows n;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO cost_inputchange (kind, first, last, count) SELECT DISTINCT '{kind}', {span_o}, 1 FROM old_rows o;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO cost_inputchange (kind, first, last, count)
        SELECT DISTINCT '{kind}', s.first, s.last, 1 FROM (
            SELECT {span_o} FROM old_rows o LEFT JOIN new_rows n ON n.id = o.id WHERE ({of_o}) IS DISTINCT FROM ({of_n})
            UNION ALL
            SELECT {span_n} FROM new_rows n LEFT JOIN old_rows o ON o.id = n.id WHERE ({of_o}) IS DISTINCT FROM ({of_n})
        ) s (first, last);
    ELSE
        INSERT INTO cost_inputchange (kind, first, last, count) VALUES ('{kind}', '0001-01-01', NULL, 1);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER cost_counts_insert AFTER INSERT ON {table}
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION cost_count_{kind}();
CREATE TRIGGER cost_counts_delete AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION cost_count_{kind}();
CREATE TRIGGER cost_counts_update AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION cost_count_{kind}();
CREATE TRIGGER cost_counts_truncate AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION cost_count_{kind}();
"""
BACK = """
DROP TRIGGER cost_counts_truncate ON {table};
DROP TRIGGER cost_counts_update ON {table};
DROP TRIGGER cost_counts_delete ON {table};
DROP TRIGGER cost_counts_insert ON {table};
DROP FUNCTION cost_count_{kind}();
"""


#: Who empties the counts makes every version small again: then nothing that is kept may count.
EMPTIED = """
CREATE FUNCTION cost_counts_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM cost_expectedmonth;
    RETURN NULL;
END $$;
CREATE TRIGGER cost_counts_emptied AFTER TRUNCATE ON cost_inputchange
    FOR EACH STATEMENT EXECUTE FUNCTION cost_counts_emptied();
"""
EMPTIED_BACK = "DROP TRIGGER cost_counts_emptied ON cost_inputchange; DROP FUNCTION cost_counts_emptied();"


def month_of(row: str, column: str) -> str:
    return f"date_trunc('month', {row}.{column}::timestamp)::date" if column else "NULL::date"


def triggers(table: str) -> migrations.RunSQL:
    kind, first, last, columns = INPUTS[table]
    told = {"table": table, "kind": kind}
    for row in "on":
        told[f"span_{row}"] = f"{month_of(row, first)}, {month_of(row, last)}"
        told[f"of_{row}"] = ", ".join(f'{row}."{column}"' for column in columns)
    return migrations.RunSQL(FUNCTION.format(**told), BACK.format(**told))


class Migration(migrations.Migration):

    dependencies = [
        ('cost', '0009_instances'),
        ('tenants', '0002_lookup_indexes'),
    ]

    operations = [
        migrations.CreateModel(
            name='ExpectedMonth',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('currency', models.CharField(max_length=3)),
                ('month', models.DateField()),
                ('version', models.PositiveBigIntegerField()),
                ('reckoned_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('currency', 'month'), name='expectedmonth_once')],
            },
        ),
        migrations.CreateModel(
            name='InputChange',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('subscription', 'Subscriptions'), ('price', 'Metered prices'), ('discount', 'Discounts'), ('commitment', 'Commitments'), ('monthlyusage', 'Usage by month'), ('rate', 'Currency rates')], max_length=12)),
                ('first', models.DateField(help_text='the first month that it counts for')),
                ('last', models.DateField(help_text='the last month; nothing: all months after', null=True)),
                ('count', models.PositiveBigIntegerField()),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('last__isnull', True), ('last__gte', models.F('first')), _connector='OR'), name='inputchange_span')],
            },
        ),
        migrations.CreateModel(
            name='ExpectedRevenue',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('currency', models.CharField(max_length=3)),
                ('month', models.DateField()),
                ('amount', models.DecimalField(decimal_places=2, max_digits=40, null=True)),
                ('missing', models.CharField(blank=True, help_text='currencies without a rate, whose amounts are left out', max_length=200)),
                ('plan', models.ForeignKey(db_constraint=False, db_index=False, help_text='of its last subscription in the month', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.plan')),
                ('tenant', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('currency', 'month', 'tenant'), name='expectedrevenue_once_a_month')],
            },
        ),
        *(triggers(table) for table in INPUTS),
        migrations.RunSQL(EMPTIED, EMPTIED_BACK),
    ]

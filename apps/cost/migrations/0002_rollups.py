import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Facts added up over days and over tenants."""

    dependencies = [
        ('accounts', '0001_initial'),
        ('cost', '0001_initial'),
        ('tenants', '0002_lookup_indexes'),
    ]

    operations = [
        migrations.CreateModel(
            name='DayCost',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('service', models.CharField(max_length=120)),
                ('currency', models.CharField(max_length=3)),
                ('billed', models.DecimalField(decimal_places=18, max_digits=38)),
                ('effective', models.DecimalField(decimal_places=18, max_digits=38)),
                ('listed', models.DecimalField(decimal_places=18, max_digits=38)),
                ('day', models.DateField()),
                ('to_tenants', models.BooleanField(help_text='given to tenants; else overhead or unallocated')),
                ('lines', models.PositiveBigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name='MonthlyCost',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('service', models.CharField(max_length=120)),
                ('currency', models.CharField(max_length=3)),
                ('billed', models.DecimalField(decimal_places=18, max_digits=38)),
                ('effective', models.DecimalField(decimal_places=18, max_digits=38)),
                ('listed', models.DecimalField(decimal_places=18, max_digits=38)),
                ('lines', models.PositiveBigIntegerField()),
            ],
        ),
        migrations.AlterField(
            model_name='dailycost',
            name='account',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='accounts.account'),
        ),
        migrations.AlterField(
            model_name='dailycost',
            name='rule',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='cost.rule'),
        ),
        migrations.AlterField(
            model_name='dailycost',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='%(class)ss', to='cost.run'),
        ),
        migrations.AlterField(
            model_name='dailycost',
            name='sub_account',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='cost.subaccount'),
        ),
        migrations.AlterField(
            model_name='dailycost',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='tenants.tenant'),
        ),
        migrations.AddField(
            model_name='daycost',
            name='account',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='daycost',
            name='rule',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='cost.rule'),
        ),
        migrations.AddField(
            model_name='daycost',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='%(class)ss', to='cost.run'),
        ),
        migrations.AddField(
            model_name='daycost',
            name='sub_account',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='cost.subaccount'),
        ),
        migrations.AddField(
            model_name='monthlycost',
            name='account',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='accounts.account'),
        ),
        migrations.AddField(
            model_name='monthlycost',
            name='rule',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='cost.rule'),
        ),
        migrations.AddField(
            model_name='monthlycost',
            name='run',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='%(class)ss', to='cost.run'),
        ),
        migrations.AddField(
            model_name='monthlycost',
            name='sub_account',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='cost.subaccount'),
        ),
        migrations.AddField(
            model_name='monthlycost',
            name='tenant',
            field=models.ForeignKey(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='tenants.tenant'),
        ),
        migrations.AddIndex(
            model_name='daycost',
            index=models.Index(fields=['run', 'day'], name='daycost_run_day'),
        ),
        migrations.AddIndex(
            model_name='monthlycost',
            index=models.Index(fields=['run', 'tenant'], name='monthlycost_run_tenant'),
        ),
        migrations.AddIndex(
            model_name='monthlycost',
            index=models.Index(condition=models.Q(('tenant__isnull', False)), fields=['tenant', 'run'], name='monthlycost_tenant'),
        ),
    ]


import django.core.validators
import django.db.models.deletion
from decimal import Decimal
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0001_initial'),
        ('cost', '0004_facts_in_one_order'),
        ('tenants', '0002_lookup_indexes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='rule',
            name='driver',
            field=models.CharField(blank=True, choices=[('requests', 'Requests'), ('cpu', 'CPU seconds'), ('storage', 'Storage (GB)'), ('seats', 'Seats'), ('traffic', 'Traffic (GB)')], max_length=10),
        ),
        migrations.AlterField(
            model_name='usage',
            name='driver',
            field=models.CharField(choices=[('requests', 'Requests'), ('cpu', 'CPU seconds'), ('storage', 'Storage (GB)'), ('seats', 'Seats'), ('traffic', 'Traffic (GB)')], max_length=10),
        ),
        migrations.CreateModel(
            name='Budget',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('name', models.CharField(max_length=100, unique=True)),
                ('service', models.CharField(blank=True, max_length=120)),
                ('currency', models.CharField(max_length=3, validators=[django.core.validators.RegexValidator('^[A-Z]{3}$', 'A currency is three capital letters (ISO 4217), such as EUR.')])),
                ('amount', models.DecimalField(decimal_places=2, help_text='a month', max_digits=14, validators=[django.core.validators.MinValueValidator(0)])),
                ('state', models.CharField(choices=[('within', 'Within'), ('likely', 'Likely over by month end'), ('over', 'Over')], default='within', editable=False, max_length=8)),
                ('account', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='budgets', to='accounts.account')),
                ('tenant', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='budgets', to='tenants.tenant')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.CreateModel(
            name='Anomaly',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('day', models.DateField()),
                ('service', models.CharField(max_length=120)),
                ('currency', models.CharField(max_length=3)),
                ('amount', models.DecimalField(decimal_places=18, max_digits=38)),
                ('expected', models.DecimalField(decimal_places=18, max_digits=38)),
                ('score', models.FloatField()),
                ('why', models.CharField(blank=True, max_length=300)),
                ('account', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='accounts.account')),
                ('tenant', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-day', '-score', 'pk'],
                'indexes': [models.Index(fields=['-day', '-score'], name='anomaly_newest')],
            },
        ),
        migrations.CreateModel(
            name='Commitment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('starts_on', models.DateField()),
                ('ends_on', models.DateField(blank=True, help_text='its last day; empty: until further notice', null=True)),
                ('currency', models.CharField(max_length=3, validators=[django.core.validators.RegexValidator('^[A-Z]{3}$', 'A currency is three capital letters (ISO 4217), such as EUR.')])),
                ('monthly_minimum', models.DecimalField(decimal_places=2, max_digits=14, validators=[django.core.validators.MinValueValidator(0)])),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-starts_on', 'tenant_id'],
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_on__isnull', True), ('ends_on__gte', models.F('starts_on')), _connector='OR'), name='commitment_ends_after_start')],
            },
        ),
        migrations.CreateModel(
            name='Discount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('starts_on', models.DateField()),
                ('ends_on', models.DateField(blank=True, help_text='its last day; empty: until further notice', null=True)),
                ('percent', models.DecimalField(decimal_places=2, max_digits=5, validators=[django.core.validators.MinValueValidator(Decimal('0.01')), django.core.validators.MaxValueValidator(100)])),
                ('note', models.CharField(blank=True, max_length=200)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='%(class)ss', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-starts_on', 'tenant_id'],
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_on__isnull', True), ('ends_on__gte', models.F('starts_on')), _connector='OR'), name='discount_ends_after_start')],
            },
        ),
        migrations.CreateModel(
            name='MonthlyUsage',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('month', models.DateField()),
                ('driver', models.CharField(choices=[('requests', 'Requests'), ('cpu', 'CPU seconds'), ('storage', 'Storage (GB)'), ('seats', 'Seats'), ('traffic', 'Traffic (GB)')], max_length=10)),
                ('amount', models.DecimalField(decimal_places=6, max_digits=30)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('month', 'driver', 'tenant'), name='usage_once_a_month')],
            },
        ),
        migrations.CreateModel(
            name='Price',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('updated_at', models.DateTimeField(auto_now=True)),
                ('starts_on', models.DateField()),
                ('ends_on', models.DateField(blank=True, help_text='its last day; empty: until further notice', null=True)),
                ('meter', models.CharField(choices=[('requests', 'Requests'), ('cpu', 'CPU seconds'), ('storage', 'Storage (GB)'), ('seats', 'Seats'), ('traffic', 'Traffic (GB)')], max_length=10)),
                ('currency', models.CharField(max_length=3, validators=[django.core.validators.RegexValidator('^[A-Z]{3}$', 'A currency is three capital letters (ISO 4217), such as EUR.')])),
                ('tiers', models.JSONField()),
                ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prices', to='tenants.plan')),
            ],
            options={
                'ordering': ['plan__rank', 'meter', '-starts_on'],
                'abstract': False,
                'constraints': [models.CheckConstraint(condition=models.Q(('ends_on__isnull', True), ('ends_on__gte', models.F('starts_on')), _connector='OR'), name='price_ends_after_start'), models.UniqueConstraint(fields=('plan', 'meter', 'currency', 'starts_on'), name='price_once_a_day')],
            },
        ),
        migrations.CreateModel(
            name='Revenue',
            fields=[
                ('id', models.BigAutoField(primary_key=True, serialize=False)),
                ('source', models.CharField(choices=[('csv', 'CSV by tenant key'), ('stripe', 'Stripe')], max_length=10)),
                ('line', models.CharField(help_text="the line's id there", max_length=120)),
                ('customer', models.CharField(help_text="the customer's id there", max_length=120)),
                ('month', models.DateField()),
                ('currency', models.CharField(max_length=3)),
                ('amount', models.DecimalField(decimal_places=2, max_digits=20)),
                ('description', models.CharField(blank=True, max_length=200)),
                ('tenant', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='revenue', to='tenants.tenant')),
            ],
            options={
                'indexes': [models.Index(fields=['month', 'tenant'], name='revenue_month_tenant')],
                'constraints': [models.UniqueConstraint(fields=('source', 'line', 'month'), name='revenue_line_once')],
            },
        ),
    ]

"""The ticker takes beat's place, with a clock by which limits are judged."""

from django.db import migrations, models


def forget_beat(apps, schema_editor):
    apps.get_model("backups", "Heartbeat").objects.filter(kind="beat").delete()


class Migration(migrations.Migration):

    dependencies = [
        ('backups', '0019_request_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='backuprun',
            name='readable_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime when they were last read well', null=True),
        ),
        migrations.AddField(
            model_name='backuprun',
            name='step_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime when it was claimed, sent or answered', null=True),
        ),
        migrations.AddField(
            model_name='heartbeat',
            name='seen_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime when it wrote', null=True),
        ),
        migrations.AddField(
            model_name='post',
            name='step_uptime',
            field=models.FloatField(blank=True, help_text='Ticker.uptime when it was sent, then answered', null=True),
        ),
        migrations.RunPython(forget_beat, migrations.RunPython.noop),
        migrations.AlterField(
            model_name='heartbeat',
            name='kind',
            field=models.CharField(choices=[('worker', 'worker')], max_length=10),
        ),
        migrations.CreateModel(
            name='Ticker',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('holder', models.CharField(blank=True, help_text='Heartbeat.name; empty: free', max_length=120)),
                ('ticks', models.PositiveBigIntegerField(default=0, help_text='counts renewals and take-overs')),
                ('uptime', models.FloatField(default=0.0, help_text='seconds')),
                ('ticked_at', models.DateTimeField(blank=True, help_text="the holder's wall clock, for people", null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('pk', 1)), name='one_ticker')],
            },
        ),
    ]

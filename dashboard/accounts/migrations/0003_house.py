import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('accounts', '0002_initial'),
        ('backups', '0002_house'),
    ]

    operations = [
        migrations.AlterField(
            model_name='grant',
            name='project',
            field=models.ForeignKey(blank=True, help_text='null: all projects, including future ones', null=True, on_delete=django.db.models.deletion.CASCADE, related_name='grants', to='backups.project'),
        ),
    ]

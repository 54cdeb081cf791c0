"""The group whose members may start and stop containers and open shells."""

from django.db import migrations

OPERATORS = "operators"


def make(apps, schema_editor):
    apps.get_model("auth", "Group").objects.get_or_create(name=OPERATORS)


class Migration(migrations.Migration):
    dependencies = [
        ("people", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(make, migrations.RunPython.noop)]

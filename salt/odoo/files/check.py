# Reads one record of every model: this fails if the database does not have a column that the code
# uses. Odoo's shell runs it (orch.upgrade).
import sys

try:
    for name in sorted(env.registry):  # noqa: F821
        model = env[name]  # noqa: F821
        if model._auto and not model._abstract and not model._transient:
            stored = [
                each for each, field in model._fields.items() if field.store and field.column_type
            ]
            model.with_context(active_test=False).search([], limit=1).read(stored)
except BaseException as error:
    print(f"{name}: {error}")
    sys.exit(1)

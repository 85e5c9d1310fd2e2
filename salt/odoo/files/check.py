# Looks at a database after its modules were updated; Odoo's shell runs this (orch.upgrade). Odoo
# only logs a module that it cannot install or load. A model whose table does not have a column that
# the code uses fails when one of its records is read.
import os
import sys

faults = []
env.cr.execute("SELECT name, state FROM ir_module_module")  # noqa: F821
states = dict(env.cr.fetchall())  # noqa: F821
for name in os.environ["SALINA_MODULES"].split(","):
    if states.get(name) != "installed":
        faults.append(f"module {name}: it is {states.get(name, 'not in the code')}")
for name, found in sorted(states.items()):
    if found.startswith("to "):
        faults.append(f"module {name}: it is still {found}")
    if found == "installed" and name not in env.registry._init_modules:  # noqa: F821
        faults.append(f"module {name}: it was not loaded")
for name in sorted(env.registry):  # noqa: F821
    model = env[name]  # noqa: F821
    if model._auto and not model._abstract and not model._transient:
        stored = [
            each for each, field in model._fields.items() if field.store and field.column_type
        ]
        try:
            model.with_context(active_test=False).search([], limit=1).read(stored)
        except Exception as error:
            faults.append(f"model {name}: {error}")
            env.cr.rollback()  # noqa: F821
for fault in faults:
    print(fault)
sys.exit(bool(faults))

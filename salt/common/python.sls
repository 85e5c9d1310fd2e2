# First of all: modules, states and utilities of the repository, when they changed and only then.
# Minions don't synchronise by themselves before each run (autoload_dynamic_modules), which takes
# three quarters of a run without change. `test: False`: a prediction needs the states, too.
{%- set record = opts.cachedir ~ '/salina-tree' %}
{%- set unchanged = {'fun': 'file.search', 'args': [record, pillar.node.tree], 'ignore_if_missing': True} %}

python-synced:
  saltutil.sync_all:
    - order: 1
    - refresh: False
    - test: False
    - failhard: True
    - reload_modules: True
    - unless:
        - {{ unchanged | json }}

python-loaded:
  salina.python_loaded:
    - name: {{ pillar.node.tree }}
    - record: {{ record }}
    - order: 2
    - test: False
    - failhard: True
    - reload_modules: True
    - unless:
        - {{ unchanged | json }}

# The environment is called after the application's data file: a new version gets a new one.
{%- import_yaml "packages.yaml" as packages %}
{%- set python = pillar.app.definition.odoo.python %}
{%- set home = '/opt/odoo/' ~ pillar.app.name %}
{%- set requirements = home ~ '/lock.txt' if python.lock else '/opt/odoo/production/' ~ python.requirements %}
include:
  - application.source
{% if python.release %}
odoo-release:
  application.apt_release:
    - name: {{ python.release }}
    - require_in:
        - pkg: odoo-packages
{% endif %}
odoo-packages:
  pkg.installed:
    - pkgs: {{ (packages.odoo + python.packages) | json }}

odoo-virtualenv:
  cmd.run:
    - name: virtualenv --quiet --python {{ python.interpreter }} {{ home }}
    - creates: {{ home }}/bin/pip
    - require:
        - pkg: odoo-packages

# pip 23 on Python 3.9 asks for distutils, which Debian has taken out; with this it asks sysconfig.
odoo-pip:
  file.managed:
    - name: {{ home }}/lib/{{ python.interpreter }}/site-packages/salina.pth
    - contents: import sysconfig; sysconfig._PIP_USE_SYSCONFIG = True
    - require:
        - cmd: odoo-virtualenv

odoo-requirements:
  file.managed:
    - names:
{%- if python.lock %}
        - {{ home }}/lock.txt:
            - source: salt://locks/{{ python.lock }}.txt
{%- endif %}
        - {{ home }}/without-dependencies.txt:
            - contents: {{ python.without_dependencies | json }}
    - require:
        - cmd: odoo-virtualenv

# installed.txt is written last: an installation that was interrupted is done again.
odoo-environment:
  cmd.run:
    - name: >-
        {{ home }}/bin/pip install --quiet --use-pep517 {{ '--no-deps' if python.lock else '' }} -r {{ requirements }} &&
        {{ home }}/bin/pip install --quiet --no-deps -r {{ home }}/without-dependencies.txt &&
        cat {{ requirements }} {{ home }}/without-dependencies.txt > {{ home }}/installed.txt
    - unless: cat {{ requirements }} {{ home }}/without-dependencies.txt | cmp --silent - {{ home }}/installed.txt
    - env:
        - PIP_CONSTRAINT: '{{ requirements if python.lock else '' }}'
    - require:
        - file: odoo-pip
        - file: odoo-requirements
        - application: application-production

{%- import_yaml "packages.yaml" as packages %}

# Before any package is installed: repair what a killed apply or a power cut left half done.
packages-whole:
  apt.whole:
    - wait: 300

common-packages:
  pkg.installed:
    - pkgs: {{ packages.common | json }}
    - require:
        - apt: packages-whole

{%- import_yaml "packages.yaml" as packages %}

# Before any package: what an apply that was killed, or a power cut, left halfway.
packages-whole:
  apt.whole:
    - wait: 300

common-packages:
  pkg.installed:
    - pkgs: {{ packages.common | json }}
    - require:
        - apt: packages-whole

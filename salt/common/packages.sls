# Before any package: what an apply that was killed, or a power cut, left halfway.
packages-whole:
  apt.whole:
    - wait: 300

# The user that runs the code of packages while they are installed (_utils/salina/common/builder.py).
# It owns nothing, and no daemon runs as this user.
builder:
  user.present:
    - name: salina-build
    - system: True
    - usergroup: True
    - home: /nonexistent
    - createhome: False
    - shell: /usr/sbin/nologin

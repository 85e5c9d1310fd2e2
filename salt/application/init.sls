# The parts that every kind of application needs, and the component of this application's kind.
# The user, the unit and the directories in /opt, /etc, /var/log and /var/cache are all named
# after the kind (`app.kind`).
include:
  - application.user
  - {{ pillar.app.kind | json }} # first: its settings need no other host, and the last two wait for some
  - application.release
  - application.directories
{%- if pillar.app.held %}
  - application.held
{%- endif %}
  - application.database
  - application.ports

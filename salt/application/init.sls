# The parts that every kind of application needs, and the component of this application's kind.
# The user, the unit and the directories in /opt, /etc, /var/log and /var/cache are all named
# after the kind (`app.kind`).
include:
  - application.user
  - application.source
  - {{ pillar.app.kind }} # first, because the next two wait for other hosts
  - application.directories
  - application.database

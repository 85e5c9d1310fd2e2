# What every kind of application has, and the component of this one's kind. All that is `app.kind`
# below is one name: of the user, the unit, and the directories in /opt, /etc, /var/log, /var/cache.
include:
  - application.user
  - application.source
  - application.directories
  - application.database
  - {{ pillar.app.kind }}

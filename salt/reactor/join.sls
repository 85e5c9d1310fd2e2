# A minion has started. Of the event only the tag and data.id are passed on, which the runner compares
# with what the master knows; a minion can write anything into the rest.
look after the minion:
  runner.join.started:
    - args:
        minion: {{ data.get('id') | json }}
        tag: {{ tag | json }}

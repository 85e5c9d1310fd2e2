# A minion has started. Only the event's tag and data.id are passed on, because a minion can write
# anything into the rest. The runner compares both with what the master knows.
look after the minion:
  runner.join.started:
    - args:
        minion: {{ data.get('id') | json }}
        tag: {{ tag | json }}

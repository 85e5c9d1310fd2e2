# Whatever restarted in this host's turn has done so by now. Every SLS with a `turn` includes this one,
# so an apply of that SLS alone also ends the turn.
turn-ended:
  turn.ended:
    - order: last

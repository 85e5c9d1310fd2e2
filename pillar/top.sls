# Empty on purpose. All pillar data comes from _pillar/salina.py, which selects it by the minion id
# alone. Nothing here may target by grains (G@) or pillar (I@), because a minion can forge both.
base: {}

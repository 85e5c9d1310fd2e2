# Empty on purpose. All pillar data come from _pillar/salina.py, which chooses them by the minion's
# id alone. Nothing here may be targeted by grains (G@) or pillar (I@): a minion can forge both.
base: {}

"""Break the lab on purpose: every host under traffic (`make drill`), and faults to be found."""

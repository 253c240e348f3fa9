"""`convert --target`: each artifact proven by the board's own programs; `--best`: the one to ship.

ConvertRequest ── plan.py ─▶ convert ─▶ artifacts ── there.py ─▶ Trial ── choose.py ─▶ pick

A board that is not here is emulated: answers and instructions are the ARM programs' own, times are
predicted. One that is reached by ssh, and this machine, are measured.
"""

"""Where automatic differentiation says something else about f than f's values do.

diagnose.py    the public function
line.py        f along one coordinate
breaks.py      finds its jumps, kinks and poles
evidence.py    gathers the facts about a coordinate
verdicts.py    decides from them
result.py      the tables and plots that the user gets
thresholds.py  the numbers of all rules
"""

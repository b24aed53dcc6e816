"""Comparison of automatic differentiation with the values of f.

diagnose.py    the public function
line.py        f along one coordinate
breaks.py      the search for its jumps, kinks and poles
evidence.py    the facts about a coordinate
verdicts.py    the rules that decide from them
result.py      the tables and plots for the user
thresholds.py  the numbers of all rules
"""

"""What every panel must show of the sample traffic, worked out in Python from the events, one at a time.

`traffic` has the calls as the oracle accepts and prices them, `asked` what a page was asked for. A module a dashboard
has FIGURES: what each of its panels must answer, rows of whole numbers and decimals, and `Near` where the engine
divides. CASES are what is chosen of the page's variables: a panel is asked for each. WORDS are columns that hold no
figure and are left out.
"""

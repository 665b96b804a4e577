"""Documentation; ``make docs`` writes the pages that follow from the code."""

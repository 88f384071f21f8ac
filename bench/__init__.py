"""How fast Hermod is, as ratios in one run (design.md sections 6 and 8, 30)."""

"""Jobs under fire: random kills while clients submit and read, and a checker of what they saw."""

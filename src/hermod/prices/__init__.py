"""What a call costs: integers of nano-dollars, from what the upstream said that it used."""

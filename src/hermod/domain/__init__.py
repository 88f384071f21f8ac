"""Types, states and decisions. Pure: no I/O, no clock of its own, standard library only."""

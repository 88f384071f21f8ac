"""`hermod doctor`: looks at everything a gateway needs, changes nothing, and says what is wrong."""

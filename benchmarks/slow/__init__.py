"""One slow client among fifty fast ones: what it gets, what it costs, and what the others notice of it."""

"""The operator's listener: what it is asked (a table of routes), whom it asks (one worker or all), what it answers."""

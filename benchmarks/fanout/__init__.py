"""Fan-out: one event to a thousand clients, by a bare C loop of send(), by the peers, and by Triolet."""

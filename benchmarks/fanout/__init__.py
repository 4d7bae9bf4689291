"""Fan-out: one event to a thousand clients, by a bare C loop of send(), by Starlette, and by Triolet."""

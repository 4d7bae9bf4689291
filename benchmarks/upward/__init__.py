"""What clients send: messages over WebSocket and requests over keep-alive, many clients on one thread of C."""

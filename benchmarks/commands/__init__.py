"""What a command costs: asked over WebSocket and over keep-alive POST, beside the same thing written by hand."""

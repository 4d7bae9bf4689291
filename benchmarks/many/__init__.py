"""What many processes on one log do: publishes, latencies across workers, and connections held by four of them."""

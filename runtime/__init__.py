"""How the process lives: threads and deadlines, HTTP, shutdown, logs, the embedded AWS."""

"""Takes updates and import files in, makes them durable, streams them to every node."""

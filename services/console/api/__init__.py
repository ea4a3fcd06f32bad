"""What the pages ask for: each call one of the public API, by the client, with plain JSON in and out."""

"""The compiled loops of the engine: arrays and scalars in, arrays out."""

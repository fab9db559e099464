"""A small language for faults: a text file says what breaks and what must hold, and is run on whole node cores."""

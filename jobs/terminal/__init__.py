"""What the terminal shows: one module for each command; `console` holds what they share. In a log file, plain lines."""

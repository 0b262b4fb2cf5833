"""What a head's output means in the table."""

"""Documents for people to judge, and what they have judged."""

"""A month of nightly runs on a corpus that lives: what each costs, and whether each ends as from scratch."""

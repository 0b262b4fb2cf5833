"""Lake tables that a table's snapshots are committed to: Iceberg and Delta, by their own libraries."""

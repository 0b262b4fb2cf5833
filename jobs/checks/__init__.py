"""What `rookery doctor` looks at, a module for each thing; none of them changes anything."""

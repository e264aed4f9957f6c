"""Named things that nets and their training are made of."""

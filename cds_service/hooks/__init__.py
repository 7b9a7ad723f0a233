"""CDS Hooks on the wire. Start at `routes`."""

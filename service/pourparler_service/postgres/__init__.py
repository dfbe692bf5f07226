"""The service over PostgreSQL: several processes, on several hosts, share one database (docs/decisions/0026)."""

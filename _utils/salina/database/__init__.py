"""PostgreSQL under Patroni: its REST interface, its roles and sessions."""

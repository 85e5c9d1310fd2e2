"""etcd, which holds the lease of Patroni's leader."""

"""An Ethereum node (geth, anvil in development): addresses of one seed, native coin and tokens."""

"""The whole of Coffer on real nodes, under traffic, while everything around it breaks; see docs/soak.md."""

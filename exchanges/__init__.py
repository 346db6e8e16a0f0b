"""What is said outside about prices, and trading there: exchanges behind one small protocol."""

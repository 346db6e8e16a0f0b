"""One adapter per chain behind one protocol; nothing here touches the database."""

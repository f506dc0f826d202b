"""What commands print: tables and documents. Pure: texts in, texts out."""

"""Pages that people read: charts, reports and cards, each one self-contained file of HTML."""

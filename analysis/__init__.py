"""From the files of a run directory to tables, figures and a report; no Ray here."""

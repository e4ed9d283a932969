"""Everything that is kept on disk: the journal of a search and the files of its run directory."""
